//! The kit's plugins in every language, asked by the real host. What they have to answer lies in `cases/`: one file says
//! what is given, the one beside it (`.expected.json`) what every language answers, to the letter.
//!
//! `CAELUM_WRITE_GOLDEN=1` writes the answers anew, from Rust; look at the difference before you keep it.

mod alike;
mod ask;
mod beside;
mod case;
mod shown;
