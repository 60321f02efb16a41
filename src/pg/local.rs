//! Settings that hold for a part of a call, like those of a function's SET clause.

use std::ffi::CStr;

use pgrx::pg_sys;

use super::guard::{Raised, guard};
use super::raw;

/// What becomes of settings that are set meanwhile, by functions of users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meanwhile {
    Stays,
    IsUndone,
}

/// Runs `act` with these settings. The former ones are restored however it ends: here, or by the
/// abort of the (sub)transaction that a panic leads to.
pub(super) fn with<T, E: From<Raised>>(
    settings: &[(&CStr, &CStr)],
    meanwhile: Meanwhile,
    act: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    // SAFETY: only counts.
    let level = unsafe { pg_sys::NewGUCNestLevel() };
    let done = set(settings).map_err(E::from).and_then(|()| act());
    let keeps = done.is_ok() && meanwhile == Meanwhile::Stays;
    // SAFETY: the level was begun above; those that an error has left within it end with it.
    let restored = unsafe { guard(|| raw::AtEOXact_GUC(keeps, level)) };
    let done = done?;
    restored?;
    Ok(done)
}

fn set(settings: &[(&CStr, &CStr)]) -> Result<(), Raised> {
    for (name, value) in settings {
        let (name, value) = (name.as_ptr(), value.as_ptr());
        // SAFETY: both are NUL-terminated, and copied.
        unsafe {
            guard(|| {
                raw::set_config_option(
                    name,
                    value,
                    pg_sys::GucContext::PGC_USERSET,
                    pg_sys::GucSource::PGC_S_SESSION,
                    pg_sys::GucAction::GUC_ACTION_SAVE,
                    true,
                    0,
                    false,
                )
            })?;
        }
    }
    Ok(())
}
