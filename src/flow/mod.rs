//! Unsafe room 2.
#![allow(unsafe_code)]
