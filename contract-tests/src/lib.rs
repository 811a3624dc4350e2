//! Checks any server that claims to speak the MIOSA API.
