//! The numbers of quantised blocks, to the bit those of the reference in the `gguf` package (`tests/conformance/gguf`).
#![cfg(test)]

use evo_kernels::matmul::blocks::dequantise;
use evo_kernels::matmul::{Matrix, Storage};

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()).collect()
}

#[test]
fn blocks_stand_for_the_numbers_of_the_reference() {
    let cases: serde_json::Value =
        serde_json::from_str(include_str!("../../tests/conformance/gguf/blocks.json")).unwrap();
    let storages = [
        ("Q8_0", Storage::Q8_0),
        ("Q4_0", Storage::Q4_0),
        ("Q4_1", Storage::Q4_1),
        ("Q4_K", Storage::Q4K),
        ("Q6_K", Storage::Q6K),
    ];
    for (name, storage) in storages {
        let text = |key: &str| bytes(cases[name][key].as_str().unwrap());
        let (blocks, expected) = (text("blocks"), text("bits"));
        let mut numbers = vec![0.0f32; 512];
        dequantise(storage, &blocks, &mut numbers).unwrap();
        let found: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        assert_eq!(found, expected, "{name}");
        let matrix = Matrix::pack_blocks(1, 512, storage, 1, |_| &blocks).unwrap();
        matrix.row(0, &mut numbers);
        let found: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        assert_eq!(found, expected, "{name} from panels");
        // Unit rows of x pick columns out of the kernels.
        for n in [1, 8] {
            let x: Vec<f32> = (0..n * 512).map(|i| f32::from(i % 512 == 37 * (i / 512) + 5)).collect();
            let mut y = vec![0.0; n];
            matrix.multiply(&x, &mut y, 1);
            for (i, y) in y.iter().enumerate() {
                assert_eq!(*y, numbers[37 * i + 5], "{name} by the product");
            }
        }
    }
}
