//! Free ports on the loopback interface.
//!
//! They come from below the range that the kernel uses for outgoing connections. So no client of a busy test run can
//! take a port between its reservation and the moment when the server binds it.

use std::collections::HashSet;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use uuid::Uuid;

use crate::found::Found;

const FIRST: u16 = 20_000;
const LAST: u16 = 32_000;
const ATTEMPTS: usize = 200;

/// The ports that this process has chosen. None is chosen twice: seconds may pass until a server binds its port, and
/// two services could even bind the same one (`SO_REUSEPORT`).
static CHOSEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);

/// A port that an open listener holds until it is released for a server.
#[derive(Debug)]
pub struct ReservedPort {
    listener: TcpListener,
    port: u16,
}

impl ReservedPort {
    /// Reserves any free port.
    ///
    /// # Errors
    /// When none of many ports is free.
    pub fn any() -> Result<Self> {
        (0..ATTEMPTS)
            .find_map(|_| {
                let random = Uuid::new_v4().as_u128() % u128::from(LAST - FIRST);
                Self::unchosen(FIRST + u16::try_from(random).expect("below 12000")).ok()
            })
            .with_context(|| format!("no free port between {FIRST} and {LAST} in {ATTEMPTS} attempts"))
    }

    fn unchosen(port: u16) -> Result<Self> {
        let reserved = Self::this(port)?;
        let mut chosen = CHOSEN.lock().unwrap_or_else(PoisonError::into_inner);
        ensure!(chosen.get_or_insert_default().insert(port), "port {port} was chosen before");
        Ok(reserved)
    }

    /// Reserves the given port.
    ///
    /// # Errors
    /// When something listens there.
    pub fn this(port: u16) -> Result<Self> {
        let taken = || match Found::listening_on(port) {
            Some(holder) => format!("port {port} on 127.0.0.1 is taken by {holder}"),
            None => format!("port {port} on 127.0.0.1 cannot be taken"),
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).with_context(taken)?;
        Ok(Self { listener, port })
    }

    /// The port's number.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends the reservation and returns the number, which the server should bind at once.
    #[must_use]
    pub fn release(self) -> u16 {
        drop(self.listener);
        self.port
    }
}

/// Which port a server gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Port {
    /// Any free one.
    #[default]
    Free,
    /// This one, or the start fails.
    Fixed(u16),
}

impl Port {
    /// The number to use now.
    ///
    /// # Errors
    /// When the wanted port is taken, or none is free.
    pub fn choose(self) -> Result<u16> {
        match self {
            Self::Free => Ok(ReservedPort::any()?.release()),
            Self::Fixed(port) => Ok(ReservedPort::this(port)?.release()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_released_port_is_not_chosen_again() {
        let port = ReservedPort::any().unwrap().release();
        assert_eq!(ReservedPort::this(port).unwrap().release(), port, "it is free");
        assert!(ReservedPort::unchosen(port).unwrap_err().to_string().contains("chosen before"));
    }

    #[test]
    fn a_reserved_port_is_refused_to_others_until_released() {
        let held = ReservedPort::any().unwrap();
        let port = held.port();
        assert!(ReservedPort::this(port).unwrap_err().to_string().contains("is taken by "));
        assert_eq!(held.release(), port);
        assert_eq!(Port::Fixed(port).choose().unwrap(), port);
    }
}
