//! The key with which everyone's artifact is signed, kept in the workplace.

use anyhow::Result;
use tandem_e2e::peers::Keys;

use crate::interrupt::Interrupt;
use crate::workplace::Workplace;

/// Makes it, unless the workplace has it from an earlier time.
pub(crate) fn make(workplace: &Workplace, interrupt: &Interrupt) -> Result<Keys> {
    let private = workplace.once("private.pem", |path| {
        interrupt.run(&mut Keys::make_private(path)).map(drop)
    })?;
    let public = workplace.once("public.pem", |path| {
        let mut make = Keys::make_public(&private, path);
        interrupt.run(&mut make).map(drop)
    })?;
    let certificate = workplace.once("certificate.pem", |path| {
        let mut make = Keys::make_certificate(&private, path);
        interrupt.run(&mut make).map(drop)
    })?;
    Ok(Keys {
        private,
        public,
        certificate,
    })
}
