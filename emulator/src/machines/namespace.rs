//! Linux namespaces as machines, without a daemon.
