//! A preview of a port: opened, found again, closed (`develop/previews`; miosa-python 2.19).

use super::{Place, World};

/// A preview. It lasts as long as its sandbox, also while that is paused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// The sandbox.
    pub sandbox: Place,
    /// The port, which has one preview.
    pub port: u8,
    /// Whether a token is needed.
    pub private: bool,
}

/// What can be tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// `POST /sandboxes/{id}/previews`.
    Open {
        /// The sandbox, which may be gone.
        sandbox: Place,
        /// The port.
        port: u8,
        /// Whether a token is needed.
        private: bool,
    },
    /// `GET`.
    Read,
    /// `DELETE`.
    Close,
}

impl World {
    /// The preview of a port.
    pub fn preview_of(&self, sandbox: Place, port: u8) -> Option<(Place, &Preview)> {
        self.previews.here().find(|(_, one)| one.sandbox == sandbox && one.port == port)
    }

    pub(super) fn preview(&mut self, at: Place, act: Act) -> u16 {
        match act {
            Act::Open { sandbox, port, private } => {
                if self.sandboxes.get(sandbox).is_none() {
                    return 404;
                }
                match self.preview_of(sandbox, port) {
                    Some((_, known)) if known.private == private => 200,
                    Some(_) => 409,
                    None => {
                        self.previews.make(at, Preview { sandbox, port, private });
                        201
                    }
                }
            }
            _ if self.previews.get(at).is_none() => 404,
            Act::Read => 200,
            Act::Close => {
                self.previews.remove(at);
                204
            }
        }
    }
}
