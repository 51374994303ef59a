//! The protocol between flowtop and its reader of names: one line of JSON for a question, and one
//! for an answer.

use std::borrow::Cow;
use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize};

use super::files::{EngineFolders, Question};
use crate::model::container::ContainerLabels;
use crate::resolve::cgroup::Runtime;

/// Longest line, in bytes: six texts, each escaped in full.
pub(super) const MAX_LINE: usize = 32 << 10;

/// Every runtime that has files, by its word.
const RUNTIMES: [Runtime; 6] = [
    Runtime::Docker,
    Runtime::Podman,
    Runtime::Containerd,
    Runtime::Crio,
    Runtime::Kubernetes,
    Runtime::Unknown,
];

#[derive(Serialize, Deserialize)]
struct QuestionLine<'a> {
    number: u64,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    runtime: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pod: Option<Cow<'a, str>>,
}

#[derive(Default, Serialize, Deserialize)]
struct AnswerLine {
    number: u64,
    name: Option<String>,
    image: Option<String>,
    pod: Option<String>,
    namespace: Option<String>,
    compose_project: Option<String>,
    compose_service: Option<String>,
}

/// A question as a line.
pub(super) fn question(number: u64, question: &Question<'_>) -> Vec<u8> {
    line(&QuestionLine {
        number,
        runtime: question.runtime.map(|runtime| runtime.as_str().into()),
        id: question.id.map(Cow::Borrowed),
        pod: question.pod.map(Cow::Borrowed),
    })
}

/// Returns the number of the question that a line answers, and the labels in it; `None` if it is no
/// answer.
pub(super) fn parse_answer(line: &[u8]) -> Option<(u64, ContainerLabels)> {
    let AnswerLine {
        number,
        name,
        image,
        pod,
        namespace,
        compose_project,
        compose_service,
    } = serde_json::from_slice(line).ok()?;
    let labels = ContainerLabels {
        name,
        image,
        pod,
        namespace,
        compose_project,
        compose_service,
        is_stale: false,
    };
    Some((number, labels))
}

/// Answers questions until there are no more.
///
/// # Errors
/// When an answer cannot be written, or a question is none.
pub(super) fn serve(
    questions: impl BufRead,
    mut answers: impl Write,
    folders: &mut EngineFolders,
) -> io::Result<()> {
    for line in questions.split(b'\n') {
        let line = line?;
        let requested: QuestionLine<'_> = serde_json::from_slice(&line)?;
        let known = RUNTIMES.into_iter();
        let runtime = requested.runtime.as_deref();
        let found = folders.look_up(&Question {
            runtime: runtime.and_then(|word| known.clone().find(|known| known.as_str() == word)),
            id: requested.id.as_deref(),
            pod: requested.pod.as_deref(),
        });
        let found = found.unwrap_or_default();
        answers.write_all(&self::line(&AnswerLine {
            number: requested.number,
            name: found.name,
            image: found.image,
            pod: found.pod,
            namespace: found.namespace,
            compose_project: found.compose_project,
            compose_service: found.compose_service,
        }))?;
        answers.flush()?;
    }
    Ok(())
}

fn line(record: &impl Serialize) -> Vec<u8> {
    // Plain structs: there is nothing that cannot be written.
    let mut line = serde_json::to_vec(record).unwrap_or_default();
    line.push(b'\n');
    line
}
