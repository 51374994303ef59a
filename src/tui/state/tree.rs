//! Rows opened in place: the open rows, the rows they consist of, and their lines in the table.
//! Rows are identified by their ids, so that they stay open while the table changes.

use super::stable_order::StableOrder;
use crate::stats::history::History;
use crate::stats::ranking::{ProcessLookup, Row, RowId, RowQuery, Rows, steady_value};
use crate::view::Group;

/// Lines of an opened row besides the sum of its other rows, on a screen of usual height.
const LINES: usize = 4;
/// Maximum number of open rows; beyond it the first opened are closed.
const MAX_OPEN: usize = 256;

/// Identity of a line of a table: the ids of the rows that lead to it, its own last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LineId {
    pub path: Vec<RowId>,
    /// Whether it is the sum line of an opened row's rows without lines.
    pub is_rest: bool,
}

impl LineId {
    /// Returns the line of a row of the table itself.
    pub fn top(id: RowId) -> Self {
        Self {
            path: vec![id],
            is_rest: false,
        }
    }

    /// Returns the line of the row that contains this one.
    pub fn parent(&self) -> Option<Self> {
        let kept = self.path.len() - usize::from(!self.is_rest);
        (kept > 0).then(|| Self {
            path: self.path[..kept].to_vec(),
            is_rest: false,
        })
    }
}

/// The query for the rows of a table, those of opened rows included.
pub struct TreeQuery<'a> {
    pub query: RowQuery,
    pub history: &'a History,
    pub lookup: &'a dyn ProcessLookup,
    /// Whether the order of the rows is frozen.
    pub is_frozen: bool,
    /// Number of lines of an opened row before more are requested.
    pub lines: usize,
}

impl TreeQuery<'_> {
    /// Returns how many lines an opened row has on a screen of this height.
    pub fn lines_at(height: u16) -> usize {
        usize::from(height / 6).clamp(3, 2 * LINES)
    }
}

#[derive(Debug)]
struct OpenRow {
    id: RowId,
    /// Its rows with their grouping; `None` while there is no such row.
    rows: Option<(Group, Rows)>,
    order: StableOrder,
    /// Number of times that more lines were requested.
    more: usize,
    limit: usize,
    open: Vec<OpenRow>,
}

/// A line within an opened row.
#[derive(Clone, Debug)]
pub struct TreeLine {
    /// The open rows that lead to it: an index at each depth.
    chain: Vec<usize>,
    /// Its index among the rows of the last open row; `None` for the sum of those without a line.
    child: Option<usize>,
    /// Whether each row that leads to it, and itself, is the last of its kind.
    pub is_last: Vec<bool>,
}

/// The lines of an opened row of the table itself.
#[derive(Debug)]
struct OpenLines {
    /// Index of the row.
    top: usize,
    lines: Vec<TreeLine>,
}

/// The origin of a line of a table.
#[derive(Clone, Copy, Debug)]
pub enum LinePosition<'a> {
    Top(usize),
    Within(&'a TreeLine),
}

#[derive(Debug, Default)]
pub struct Tree {
    open: Vec<OpenRow>,
    blocks: Vec<OpenLines>,
}

/// Returns the grouping of an opened row's rows; `None` for a flow. `levels` are the groupings that
/// lead to the row, the table's first.
pub fn finer(levels: &[Group], is_one_process: bool) -> Option<Group> {
    let has = |group: Group| levels.contains(&group);
    let of_process = has(Group::Process) || has(Group::Thread);
    match levels {
        [] | [Group::Flow] | [.., Group::Flow] => None,
        [Group::Net(_)] => Some(Group::Remote),
        _ if !of_process && !has(Group::Program) => Some(Group::Program),
        _ if !of_process && !is_one_process => Some(Group::Process),
        _ if !has(Group::Remote) => Some(Group::Remote),
        _ => Some(Group::Flow),
    }
}

impl Tree {
    pub fn clear(&mut self) {
        self.open.clear();
        self.blocks.clear();
    }

    /// Returns the number of lines within opened rows.
    pub fn len(&self) -> usize {
        self.blocks.iter().map(|block| block.lines.len()).sum()
    }

    /// Returns the number of lines within the open ones of the first `rows` rows.
    pub fn len_within(&self, rows: usize) -> usize {
        let blocks = self.blocks.iter().take_while(|block| block.top < rows);
        blocks.map(|block| block.lines.len()).sum()
    }

    /// Returns the origin of the line at an index of the table.
    pub fn position(&self, index: usize) -> LinePosition<'_> {
        let mut before = 0;
        for block in &self.blocks {
            let first = block.top + before + 1;
            if index < first {
                break;
            }
            if let Some(line) = block.lines.get(index - first) {
                return LinePosition::Within(line);
            }
            before += block.lines.len();
        }
        LinePosition::Top(index - before)
    }

    /// Returns the index of the line of the row with this number.
    fn index(&self, top: usize) -> usize {
        top + self.len_within(top)
    }

    /// Rebuilds the rows of all open rows.
    pub fn rebuild(&mut self, top: &Rows, query: &TreeQuery<'_>) {
        self.blocks.clear();
        let excess = self.open.len().saturating_sub(MAX_OPEN);
        self.open.drain(..excess);
        for (at, open) in self.open.iter_mut().enumerate() {
            open.rows = None;
            if let Some(n) = top.find(query.history, &open.id) {
                open.fill(top, n, &[query.query.group], query);
                let mut lines = Vec::new();
                open.append_lines(&[at], &[], query.history, &mut lines);
                self.blocks.push(OpenLines { top: n, lines });
            }
        }
        self.blocks.sort_unstable_by_key(|block| block.top);
    }

    fn open_row(&self, chain: &[usize]) -> Option<&OpenRow> {
        let (&first, rest) = chain.split_first()?;
        let first = self.open.get(first)?;
        rest.iter().try_fold(first, |open, &at| open.open.get(at))
    }

    /// Returns the id of the line at an index.
    pub fn id(&self, top: &Rows, history: &History, index: usize) -> Option<LineId> {
        match self.position(index) {
            LinePosition::Top(n) => Some(LineId::top(top.id(history, n)?)),
            LinePosition::Within(line) => self.line_id(history, line),
        }
    }

    fn line_id(&self, history: &History, line: &TreeLine) -> Option<LineId> {
        let mut path = Vec::with_capacity(line.is_last.len() + 1);
        for depth in 1..=line.chain.len() {
            path.push(self.open_row(&line.chain[..depth])?.id.clone());
        }
        if let Some(child) = line.child {
            let (_, rows) = self.open_row(&line.chain)?.rows.as_ref()?;
            path.push(rows.id(history, child)?);
        }
        Some(LineId {
            path,
            is_rest: line.child.is_none(),
        })
    }

    /// Returns the index of a line.
    pub fn find(&self, top: &Rows, history: &History, id: &LineId) -> Option<usize> {
        let n = top.find(history, id.path.first()?)?;
        let index = self.index(n);
        if id.path.len() == 1 && !id.is_rest {
            return Some(index);
        }
        let block = self.blocks.iter().find(|block| block.top == n)?;
        let mut lines = block.lines.iter();
        let at = lines.position(|line| self.line_id(history, line).as_ref() == Some(id))?;
        Some(index + 1 + at)
    }

    /// Returns the row of a line within an opened row.
    pub fn row(&self, history: &History, line: &TreeLine) -> Option<Row> {
        let open = self.open_row(&line.chain)?;
        let (_, rows) = open.rows.as_ref()?;
        match line.child {
            Some(child) => rows.row(history, child),
            None => rows.sum_from(history, open.limit),
        }
    }

    /// Returns the rows that contain a line's row, and its index among them.
    pub fn rows<'a>(&'a self, line: &TreeLine) -> Option<(&'a Rows, Option<usize>)> {
        let (_, rows) = self.open_row(&line.chain)?.rows.as_ref()?;
        Some((rows, line.child))
    }

    /// Returns how many rows the line of a sum stands for.
    pub fn rest(&self, line: &TreeLine) -> Option<usize> {
        let open = self.open_row(&line.chain)?;
        let (_, rows) = open.rows.as_ref()?;
        line.child
            .is_none()
            .then(|| rows.len().saturating_sub(open.limit))
    }

    /// Returns the groupings that lead to a line, that of the table first.
    pub fn levels(&self, group: Group, line: &TreeLine) -> Vec<Group> {
        let open = (1..=line.chain.len()).filter_map(|depth| self.open_row(&line.chain[..depth]));
        let groups = open.filter_map(|open| Some(open.rows.as_ref()?.0));
        std::iter::once(group).chain(groups).collect()
    }

    /// Whether a row is open.
    pub fn is_open(&self, id: &LineId) -> bool {
        !id.is_rest && self.find_open(&id.path).is_some()
    }

    fn find_open(&self, path: &[RowId]) -> Option<&OpenRow> {
        let (first, rest) = path.split_first()?;
        let open = self.open.iter().find(|open| open.id == *first)?;
        rest.iter().try_fold(open, |open, id| {
            open.open.iter().find(|child| child.id == *id)
        })
    }

    fn siblings(&mut self, path: &[RowId]) -> Option<&mut Vec<OpenRow>> {
        let mut open = &mut self.open;
        for id in path {
            open = &mut open.iter_mut().find(|child| child.id == *id)?.open;
        }
        Some(open)
    }

    /// Opens a row; of the sum of rows without a line it opens as many more.
    pub fn open(&mut self, id: &LineId) {
        let Some((last, parents)) = id.path.split_last() else {
            return;
        };
        let Some(siblings) = self.siblings(parents) else {
            return;
        };
        match siblings.iter_mut().find(|open| open.id == *last) {
            Some(open) if id.is_rest => open.more += 1,
            Some(_) => {}
            None => siblings.push(OpenRow {
                id: last.clone(),
                rows: None,
                order: StableOrder::default(),
                more: 0,
                limit: LINES,
                open: Vec::new(),
            }),
        }
    }

    /// Closes a row; returns whether it was open.
    pub fn close(&mut self, id: &LineId) -> bool {
        let Some((last, parents)) = id.path.split_last().filter(|_| !id.is_rest) else {
            return false;
        };
        let Some(siblings) = self.siblings(parents) else {
            return false;
        };
        let before = siblings.len();
        siblings.retain(|open| open.id != *last);
        siblings.len() < before
    }

    /// Drops the order of the rows within opened rows.
    pub fn reset_order(&mut self) {
        fn reset(open: &mut [OpenRow]) {
            for row in open {
                row.order.reset();
                reset(&mut row.open);
            }
        }
        reset(&mut self.open);
    }
}

impl OpenRow {
    /// Rebuilds its rows: it is row `n` of those above.
    fn fill(&mut self, above: &Rows, n: usize, levels: &[Group], query: &TreeQuery<'_>) {
        let history = query.history;
        let is_one_process = above
            .row(history, n)
            .is_some_and(|row| row.common.tgid.is_some());
        let Some(group) = finer(levels, is_one_process) else {
            return;
        };
        let own = RowQuery {
            group,
            ..query.query
        };
        let mut rows = above.part(history, n, &own, query.lookup);
        self.order.hold(query.is_frozen);
        let sort = own.sort;
        self.order.arrange(
            &mut rows,
            history,
            |rows, n| steady_value(rows, history, n, sort.column, query.lookup),
            sort.descending,
        );
        let levels = [levels, &[group]].concat();
        for open in &mut self.open {
            open.rows = None;
            if let Some(n) = rows.find(history, &open.id) {
                open.fill(&rows, n, &levels, query);
            }
        }
        self.limit = query.lines * (1 << self.more.min(20));
        if rows.len() <= self.limit + 1 {
            // A sum of one row would take the line of the row.
            self.limit = rows.len();
        }
        self.rows = Some((group, rows));
    }

    fn append_lines(
        &self,
        chain: &[usize],
        is_last: &[bool],
        history: &History,
        lines: &mut Vec<TreeLine>,
    ) {
        let Some((_, rows)) = &self.rows else {
            return;
        };
        let shown = self.limit.min(rows.len());
        let line = |child, last| TreeLine {
            chain: chain.to_vec(),
            child,
            is_last: [is_last, &[last]].concat(),
        };
        for child in 0..shown {
            let last = child + 1 == rows.len();
            lines.push(line(Some(child), last));
            let id = rows.id(history, child);
            let open = self.open.iter().enumerate();
            let mut open = open.filter(|(_, open)| Some(&open.id) == id.as_ref());
            if let Some((at, open)) = open.next() {
                let chain = [chain, &[at]].concat();
                open.append_lines(&chain, &[is_last, &[last]].concat(), history, lines);
            }
        }
        if shown < rows.len() {
            lines.push(line(None, true));
        }
    }
}
