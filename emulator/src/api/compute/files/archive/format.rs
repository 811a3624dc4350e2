//! Which format is meant: by its name, by the content type, else by the first bytes.

use crate::http::{ApiError, ApiResult};

/// A format of archives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// tar, not compressed.
    Tar,
    /// tar in gzip.
    TarGz,
    /// zip.
    Zip,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 3] = [Self::Tar, Self::TarGz, Self::Zip];

    /// As a parameter names it.
    ///
    /// # Errors
    /// 400 for a name that is none.
    pub fn named(name: &str) -> ApiResult<Self> {
        match name {
            "tar" => Ok(Self::Tar),
            "tar.gz" | "tgz" => Ok(Self::TarGz),
            "zip" => Ok(Self::Zip),
            _ => Err(ApiError::parameter("format", "must be tar, tar.gz or zip")),
        }
    }

    /// What a file of this name would be.
    pub fn of_file(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let parts: Vec<&str> = name.split('.').collect();
        match parts.as_slice() {
            [_, .., "tar"] => Some(Self::Tar),
            [_, .., "tar", "gz"] | [_, .., "tgz"] => Some(Self::TarGz),
            [_, .., "zip"] => Some(Self::Zip),
            _ => None,
        }
    }

    /// What a content type says, if it says anything.
    pub fn of_content_type(content_type: &str) -> Option<Self> {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        match essence.to_ascii_lowercase().as_str() {
            "application/x-tar" => Some(Self::Tar),
            "application/gzip" | "application/x-gzip" | "application/x-gtar-compressed" => {
                Some(Self::TarGz)
            }
            "application/zip" | "application/x-zip-compressed" => Some(Self::Zip),
            _ => None,
        }
    }

    /// What the first bytes look like.
    pub fn of_bytes(head: &[u8]) -> Option<Self> {
        if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
            Some(Self::Zip)
        } else if head.starts_with(&[0x1f, 0x8b]) {
            Some(Self::TarGz)
        } else {
            (head.get(257..262) == Some(b"ustar")).then_some(Self::Tar)
        }
    }

    /// Its content type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Tar => "application/x-tar",
            Self::TarGz => "application/gzip",
            Self::Zip => "application/zip",
        }
    }

    /// How its files end; also its name.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Tar => "tar",
            Self::TarGz => "tar.gz",
            Self::Zip => "zip",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_known_by_its_names() {
        for format in Format::ALL {
            assert_eq!(Format::named(format.extension()).ok(), Some(format));
            assert_eq!(Format::of_content_type(format.content_type()), Some(format));
            assert_eq!(Format::of_file(&format!("a.b.{}", format.extension())), Some(format));
        }
        assert_eq!(Format::of_file("X.TGZ"), Some(Format::TarGz));
        assert_eq!(Format::of_file("a.gz"), None);
        assert!(Format::named("rar").is_err());
        let form = "application/x-www-form-urlencoded";
        assert_eq!(Format::of_content_type(form), None);
        assert_eq!(Format::of_content_type("Application/Zip; x=y"), Some(Format::Zip));
    }
}
