//! The fast way against the views, which look properly.

use super::*;

#[test]
fn nothing_short_is_common() {
    let ingress = Ingress { interface: 0, realm: Realm(1), mac: 0 };
    for length in 0..HEADERS {
        assert_eq!(common(&vec![0; length], length, &ingress, true), None);
    }
}
