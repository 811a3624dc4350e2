//! Sizes: five named contracts, and whatever lies between them (`develop/sandboxes`, miosa-python 2.19).

use serde_json::{Value, json};

use crate::http::{ApiError, ApiResult};
use crate::machines::Shape;

/// The size of a create that names none.
pub const DEFAULT: &str = "small";

/// The size that is no named one.
pub const CUSTOM: &str = "custom";

/// Every named size.
pub const SIZES: &[(&str, Shape)] = &[
    ("xs", Shape { vcpus: 1, memory_mb: 2048, disk_mb: 10_240 }),
    ("small", Shape { vcpus: 2, memory_mb: 4096, disk_mb: 10_240 }),
    ("medium", Shape { vcpus: 4, memory_mb: 8192, disk_mb: 20_480 }),
    ("large", Shape { vcpus: 8, memory_mb: 16_384, disk_mb: 40_960 }),
    ("xl", Shape { vcpus: 16, memory_mb: 32_768, disk_mb: 81_920 }),
];

/// The most that one sandbox may ask for.
pub const MOST: Shape = Shape { vcpus: 64, memory_mb: 262_144, disk_mb: 1_048_576 };

/// The named size of this shape, or `custom`.
pub fn name_of(shape: Shape) -> String {
    let named = SIZES.iter().find(|(_, known)| *known == shape);
    named.map_or(CUSTOM, |(name, _)| *name).to_owned()
}

/// The shape of the size of a create that names none.
pub fn default_shape() -> (&'static str, Shape) {
    SIZES
        .iter()
        .find(|(name, _)| *name == DEFAULT)
        .copied()
        .unwrap_or((DEFAULT, Shape { vcpus: 2, memory_mb: 4096, disk_mb: 10_240 }))
}

/// The size and shape that a create asks for. What is not said is filled from the named size, else from `small`.
///
/// # Errors
/// 422 for an unknown size or a number out of bounds.
pub fn choose(
    size: Option<&str>,
    vcpus: Option<u32>,
    memory_mb: Option<u32>,
    disk_mb: Option<u32>,
) -> ApiResult<(String, Shape)> {
    let asked = match size {
        Some("xlarge") => "xl",
        // `custom` is what records of such shapes say: a client may send its own record back.
        Some(CUSTOM) | None => DEFAULT,
        Some(name) => name,
    };
    let base = SIZES.iter().find(|(name, _)| *name == asked).map(|(_, shape)| *shape);
    let base = base
        .ok_or_else(|| ApiError::field("size", "must be one of xs, small, medium, large and xl"))?;
    let within = |field: &str, value: Option<u32>, default: u32, min: u32, max: u32| {
        let value = value.unwrap_or(default);
        if (min..=max).contains(&value) {
            Ok(value)
        } else {
            Err(ApiError::field(field, format!("must be {min} to {max}")))
        }
    };
    let shape = Shape {
        vcpus: within("cpu_count", vcpus, base.vcpus, 1, MOST.vcpus)?,
        memory_mb: within("memory_mb", memory_mb, base.memory_mb, 128, MOST.memory_mb)?,
        disk_mb: within("disk_size_mb", disk_mb, base.disk_mb, 512, MOST.disk_mb)?,
    };
    Ok((name_of(shape), shape))
}

/// The contract of a shape, as records and the catalogue carry it.
pub fn contract(size: &str, shape: Shape) -> Value {
    let Shape { vcpus, memory_mb, disk_mb } = shape;
    let id = if size == CUSTOM {
        format!("sandbox/custom-{vcpus}x{memory_mb}x{disk_mb}@v1")
    } else {
        format!("sandbox/{size}@v1")
    };
    json!({
        "id": id, "contract_id": id, "product": "sandbox", "size": size, "version": "v1",
        "contract_version": "v1", "vcpus": vcpus, "memory_mb": memory_mb, "disk_size_mb": disk_mb,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(size: Option<&str>, cpu: Option<u32>, mem: Option<u32>, disk: Option<u32>) -> String {
        choose(size, cpu, mem, disk).unwrap().0
    }

    #[test]
    fn numbers_that_match_a_size_name_it_and_others_are_custom() {
        assert_eq!(name(None, None, None, None), "small");
        assert_eq!(name(Some("xlarge"), None, None, None), "xl");
        assert_eq!(name(None, Some(4), Some(8192), Some(20_480)), "medium");
        assert_eq!(name(None, Some(1), Some(2048), None), "xs");
        assert_eq!(name(Some("small"), None, None, Some(20_480)), "custom");
        let (size, shape) = choose(None, Some(3), None, None).unwrap();
        assert_eq!(contract(&size, shape)["id"], "sandbox/custom-3x4096x10240@v1");
    }

    #[test]
    fn what_no_size_is_is_refused() {
        for refused in [
            choose(Some("huge"), None, None, None),
            choose(None, Some(0), None, None),
            choose(None, None, Some(1), None),
            choose(None, None, None, Some(u32::MAX)),
        ] {
            assert_eq!(refused.unwrap_err().code.status, 422);
        }
    }
}
