//! Docker containers as machines.
