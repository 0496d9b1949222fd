//! The migrations are compiled in, and Cargo does not know by itself which files they are.

fn main() {
    println!("cargo:rerun-if-changed=../../migrations/order");
}
