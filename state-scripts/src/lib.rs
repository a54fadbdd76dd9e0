//! State scripts: their names, their order, and running them.
