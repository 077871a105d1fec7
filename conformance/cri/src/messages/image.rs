//! Images that a runtime has.

use std::collections::BTreeMap;

use super::{ImageSpec, Int64Value};

/// Which images are meant; all, where it says nothing.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ImageFilter {
    /// This one.
    #[prost(message, optional, tag = "1")]
    pub image: Option<ImageSpec>,
}

/// Asks for images.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ListImagesRequest {
    /// Which.
    #[prost(message, optional, tag = "1")]
    pub filter: Option<ImageFilter>,
}

/// Images.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ListImagesResponse {
    /// In no order.
    #[prost(message, repeated, tag = "1")]
    pub images: Vec<Image>,
}

/// Asks after an image.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ImageStatusRequest {
    /// Which.
    #[prost(message, optional, tag = "1")]
    pub image: Option<ImageSpec>,
    /// With what is the runtime's own: the image's configuration.
    #[prost(bool, tag = "2")]
    pub verbose: bool,
}

/// How an image is.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ImageStatusResponse {
    /// None: the runtime does not have it.
    #[prost(message, optional, tag = "1")]
    pub image: Option<Image>,
    /// Documents of JSON by name.
    #[prost(btree_map = "string, string", tag = "2")]
    pub info: BTreeMap<String, String>,
}

/// An image.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Image {
    /// The digest of its configuration.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Its names by tag.
    #[prost(string, repeated, tag = "2")]
    pub repo_tags: Vec<String>,
    /// Its names by digest.
    #[prost(string, repeated, tag = "3")]
    pub repo_digests: Vec<String>,
    /// Bytes.
    #[prost(uint64, tag = "4")]
    pub size: u64,
    /// Its user, where that is a number.
    #[prost(message, optional, tag = "5")]
    pub uid: Option<Int64Value>,
    /// Its user, where that is a name.
    #[prost(string, tag = "6")]
    pub username: String,
    /// As it was asked for.
    #[prost(message, optional, tag = "7")]
    pub spec: Option<ImageSpec>,
    /// Whether the kubelet's collection of garbage leaves it alone.
    #[prost(bool, tag = "8")]
    pub pinned: bool,
}
