//! Areas between curves, by hand.

use driver::validate::engine::overlay::Areas;

#[test]
fn nothing_beside_nothing_is_no_error() {
    let none = Areas::default();
    assert_eq!(none.error().to_bits(), 0.0_f64.to_bits());
    let some = Areas { measured: 10.0, simulated: 11.0, between: 2.0 };
    assert!((some.error() - 0.2).abs() < 1e-12);
    // Something where nothing was measured is never within a tolerance.
    assert!(Areas { measured: 0.0, simulated: 1.0, between: 1.0 }.error() > 1.0);
}
