//! The owner fields of a record: process, user, container, unit and job.

use std::sync::Arc;

use serde::Serialize;

use super::is_false;
use crate::resolve::owners::{CgroupLocation, Delegate};
use crate::view::Group;

/// The process as the kernel recorded it, and the names of its user and container.
#[derive(Default, Serialize)]
pub struct ProcessFields<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<&'a str>,
    #[serde(flatten)]
    pub location: LocationFields,
    #[serde(skip_serializing_if = "is_false")]
    pub kernel_thread: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_ns: Option<u64>,
}

#[derive(Default, Serialize)]
pub struct LocationFields {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_runtime: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_unit: Option<String>,
    /// The user below whose service manager the cgroup is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manager_uid: Option<u32>,
    /// The outermost container, where `container` is inside of another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outer_container: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_step: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_namespace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compose_project: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compose_service: Option<String>,
    #[serde(skip_serializing_if = "is_false")]
    pub names_stale: bool,
}

impl LocationFields {
    /// The fields of a group that has a name of its own.
    pub fn of_name(group: Group, shown: &str) -> Self {
        // The user below whose manager the group is follows the name.
        let name = shown.split(' ').next().unwrap_or(shown);
        let (first, second) = match name.split_once('/') {
            Some((first, second)) => (first, Some(second.to_owned())),
            None => (name, None),
        };
        match group {
            Group::Namespace => Self {
                pod_namespace: Some(name.to_owned()),
                ..Self::default()
            },
            Group::Compose => Self {
                compose_project: Some(first.to_owned()),
                compose_service: second,
                ..Self::default()
            },
            _ => Self {
                job: name.split_once(':').map(|(_, job)| job.to_owned()),
                ..Self::default()
            },
        }
    }
}

impl From<&CgroupLocation> for LocationFields {
    fn from(location: &CgroupLocation) -> Self {
        let container = location.container.as_ref();
        let labels = location.labels().cloned().unwrap_or_default();
        let (manager_uid, outer_container) = match &location.delegate {
            Delegate::User(uid) => (Some(*uid), None),
            Delegate::Container(outer) => (None, Some(outer.id.clone())),
            Delegate::System | Delegate::Unknown => (None, None),
        };
        Self {
            user_unit: location.user_unit.clone(),
            manager_uid,
            outer_container,
            job: location.job.as_ref().map(|job| job.id.clone()),
            job_step: location.job_step.clone(),
            container_name: labels.name.filter(|_| container.is_some()),
            image: labels.image.filter(|_| container.is_some()),
            pod_name: labels.pod,
            pod_namespace: labels.namespace,
            compose_project: labels.compose_project,
            compose_service: labels.compose_service,
            names_stale: labels.is_stale,
            container_runtime: container.map(|container| container.runtime.as_str()),
            container: container.map(|container| container.id.clone()),
            pod: location.pod.clone(),
            unit: location.unit.as_deref().map(Arc::from),
        }
    }
}
