//! Seccomp filters on one argument of one system call.

use std::collections::BTreeMap;
use std::sync::Arc;

use nix::libc::c_long;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};

use crate::check::Stop;

/// Does `action` when `call` is made with `value` as its first argument, and allows the rest.
///
/// # Errors
/// [`Stop::Skip`] where no filter can be compiled for this architecture.
pub fn filter_first_argument(
    call: c_long,
    value: u64,
    action: SeccompAction,
) -> Result<Arc<BpfProgram>, Stop> {
    compile(call, value, action)
        .map(Arc::new)
        .map_err(|error| Stop::Skip(format!("no seccomp filter can be compiled here: {error}")))
}

fn compile(call: c_long, value: u64, action: SeccompAction) -> Result<BpfProgram, BackendError> {
    let condition = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)?;
    let rules = BTreeMap::from([(call, vec![SeccompRule::new(vec![condition])?])]);
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    SeccompFilter::new(rules, SeccompAction::Allow, action, architecture)?.try_into()
}
