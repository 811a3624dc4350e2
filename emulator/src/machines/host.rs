//! Plain processes of this computer as machines: unconfined, only when asked for by name.
