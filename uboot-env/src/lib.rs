//! The U-Boot environment.
