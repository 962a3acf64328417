//! What is shipped.

use crate::support::engine::Engine;

#[test]
fn the_image_is_smaller_than_twenty_megabytes() {
    let Some(engine) = Engine::find() else { return };

    let size = engine.docker(&["image", "inspect", "-f", "{{.Size}}", &engine.image]);

    assert!(size.parse::<u64>().unwrap() < IMAGE_BYTES_MAX, "{} has {size} bytes", engine.image);
}

const IMAGE_BYTES_MAX: u64 = 20_000_000;
