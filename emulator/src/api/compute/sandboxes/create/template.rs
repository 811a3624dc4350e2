//! Which template a create means.

use crate::api::compute::sandboxes::refused_fields::field_not_emulated;
use crate::http::{ApiError, ApiResult, codes};
use crate::machines::templates::{self, DEFAULT_TEMPLATE};

/// The template that is meant: official clients send the default one beside another spelling of the field.
///
/// # Errors
/// 422 for two spellings that name different ones.
pub fn meant<'a>(spelled: [(&str, Option<&'a str>); 3]) -> ApiResult<&'a str> {
    let mut meant: Option<&str> = None;
    for (field, value) in spelled {
        let Some(value) = value.filter(|value| !value.is_empty()) else { continue };
        match meant {
            None | Some(DEFAULT_TEMPLATE) => meant = Some(value),
            Some(other) if other == value || value == DEFAULT_TEMPLATE => {}
            Some(_) => {
                return Err(ApiError::field(field, "contradicts another spelling of the template"));
            }
        }
    }
    Ok(meant.unwrap_or(DEFAULT_TEMPLATE))
}

/// The built-in template of this name.
///
/// # Errors
/// 404 `TEMPLATE_NOT_FOUND`; 501 for a desktop one.
pub fn named(name: &str) -> ApiResult<&'static templates::BuiltIn> {
    if let Some(found) = templates::find(name) {
        return Ok(found);
    }
    if name.contains("desktop") {
        return Err(field_not_emulated("template_id", "desktop templates are not built."));
    }
    Err(ApiError::new(
        codes::TEMPLATE_NOT_FOUND,
        format!(
            "No template {name} is known here. GET /api/v1/sandbox-templates lists those that are."
        ),
    ))
}
