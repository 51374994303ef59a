//! Finds the process that holds most of a full flow table.

use hashbrown::HashMap;

use crate::model::flow::Flow;
use crate::model::interval::SlotHolder;

/// Returns the process that holds most slots of a family whose map was full, from the drained
/// flows; `None` if every flow had a slot. `slots` is the size of the flow map of each family.
pub fn of(flows: &[Flow], slots: u32) -> Option<SlotHolder> {
    let families = [false, true];
    let holders = families.into_iter().filter_map(|is_v6| {
        let of_family = || {
            flows
                .iter()
                .filter(move |flow| flow.key.local.addr.is_ipv6() == is_v6)
        };
        if !of_family().any(|flow| flow.key.overflow) {
            return None;
        }
        let mut held = HashMap::new();
        for flow in of_family().filter(|flow| !flow.key.overflow) {
            let (_, held) = held.entry(flow.key.tgid).or_insert((&flow.owner, 0));
            *held += 1;
        }
        held.into_iter()
            .map(|(tgid, (owner, flows))| SlotHolder {
                tgid,
                comm: owner.comm,
                flows,
                slots,
            })
            .max_by_key(|holder| (holder.flows, holder.tgid))
    });
    holders.max_by_key(|holder| holder.flows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::flow::{Endpoint, FlowKey};
    use crate::testing::flow;

    /// An overflow flow of process `4 * id`, like all flows of these tests.
    fn overflow(id: u32, local: &str) -> Flow {
        let mut flow = flow(id, 1, 1);
        let end = Endpoint::new(local.parse().unwrap(), 0);
        flow.key = FlowKey {
            overflow: true,
            ..FlowKey::new(flow.key.protocol, end, end, flow.key.tgid)
        };
        flow
    }

    fn of_process(tgid: u32, flows: std::ops::Range<u32>) -> Vec<Flow> {
        let of = |id| {
            let mut flow = flow(id, 1, 1);
            flow.key.tgid = tgid;
            flow
        };
        flows.map(of).collect()
    }

    #[test]
    fn the_process_with_most_slots_is_the_holder_of_a_full_table() {
        let mut flows = of_process(7, 0..5);
        flows.extend(of_process(9, 5..8));
        assert_eq!(of(&flows, 8), None);
        flows.push(overflow(90, "0.0.0.0"));
        let holder = of(&flows, 8).unwrap();
        assert_eq!((holder.tgid, holder.flows, holder.slots), (7, 5, 8));
    }

    #[test]
    fn a_full_table_of_one_family_has_no_holder_of_the_other() {
        let mut flows = of_process(7, 0..5);
        flows.push(overflow(90, "::"));
        assert_eq!(of(&flows, 8), None);
    }
}
