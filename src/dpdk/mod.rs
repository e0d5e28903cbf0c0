//! Unsafe room 1.
#![allow(unsafe_code)]
