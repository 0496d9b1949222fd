//! What runs in the background, on the first core only.
