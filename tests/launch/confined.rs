//! The launcher in a container, which forbids more or less.
