//! Mutexes of which each value is written at once, so that what a thread left that panicked is whole.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks it, also after a panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
