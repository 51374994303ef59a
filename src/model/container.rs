//! The names that an engine gives its containers.

/// Names of a container and of its pod or project, read from the engine's files when the container
/// was new. Each may be missing. They are labels: only the id identifies a container.
/// Whoever started the container chose them; they are printable ASCII without spaces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerLabels {
    /// Name of the container; in a pod its name within the pod.
    pub name: Option<String>,
    pub image: Option<String>,
    /// Name of the Kubernetes pod.
    pub pod: Option<String>,
    /// Kubernetes namespace of the pod.
    pub namespace: Option<String>,
    pub compose_project: Option<String>,
    pub compose_service: Option<String>,
    /// Whether the engine no longer has the container: the names are the last ones.
    pub is_stale: bool,
}

impl ContainerLabels {
    /// Whether no name is known.
    pub fn is_empty(&self) -> bool {
        self.texts().next().is_none()
    }

    /// Returns namespace and pod, as in `shop/web-0`.
    pub fn pod_name(&self) -> Option<String> {
        let pod = self.pod.as_deref()?;
        Some(match &self.namespace {
            Some(namespace) => format!("{namespace}/{pod}"),
            None => pod.to_owned(),
        })
    }

    /// Returns project and service of compose, as in `shop/web`.
    pub fn compose_name(&self) -> Option<String> {
        let project = self.compose_project.as_deref()?;
        Some(match &self.compose_service {
            Some(service) => format!("{project}/{service}"),
            None => project.to_owned(),
        })
    }

    /// Returns all known texts in the order of the fields.
    pub fn texts(&self) -> impl Iterator<Item = &String> {
        [
            &self.name,
            &self.image,
            &self.pod,
            &self.namespace,
            &self.compose_project,
            &self.compose_service,
        ]
        .into_iter()
        .flatten()
    }

    /// Returns a copy with only those texts that `is_fine` accepts.
    #[must_use]
    pub fn checked(self, is_fine: impl Fn(&str) -> bool) -> Self {
        let keep = |text: Option<String>| text.filter(|text| is_fine(text));
        Self {
            name: keep(self.name),
            image: keep(self.image),
            pod: keep(self.pod),
            namespace: keep(self.namespace),
            compose_project: keep(self.compose_project),
            compose_service: keep(self.compose_service),
            is_stale: self.is_stale,
        }
    }
}

/// Longest name or image that is accepted, in bytes: an image has a host, a path of 255 bytes and a
/// digest.
const MAX_LABEL: usize = 512;

/// Whether a text can be a name: printable ASCII without spaces, within bounds.
pub fn is_label(text: &str) -> bool {
    (1..=MAX_LABEL).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}
