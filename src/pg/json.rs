//! A JSON object as an argument: its members, read from jsonb as it is stored.

use std::marker::PhantomData;
use std::mem::{self, MaybeUninit};
use std::{ptr, slice};

use pgrx::pg_sys::{self, Datum, JsonbValue, Oid, jbvType};

use super::call::Call;
use super::guard::{Raised, guard};
use super::refusal::types;
use super::table::{LONGEST_NAME, MOST_COLUMNS};
use super::value::{Value, from_server};
use super::{raw, text};

/// A JSON object's members, as [`Call::members`] finds them.
pub enum Members<'a> {
    Null,
    /// Some other JSON value than an object.
    NoObject,
    /// A name that is not text in the encoding of the database.
    NotText,
    /// More than a table has columns, and how many.
    TooMany(usize),
    /// A name of more bytes than one of a column has, and how many.
    NameTooLong(usize),
    /// In the order of their names.
    Of(Vec<Member<'a>>),
}

/// A member of a JSON object.
pub struct Member<'a> {
    pub name: String,
    value: JsonbValue,
    lent: PhantomData<&'a ()>,
}

/// The text of a JSON value.
pub enum Text {
    Of(String),
    /// Bytes that are not text in the encoding of the database.
    Not,
    /// Of an array or object.
    Json(String),
}

impl<'fcx> Call<'fcx> {
    /// The members of the jsonb argument at `index`, which stand for columns of a table.
    pub fn members(self, index: usize) -> Result<Members<'fcx>, Raised> {
        let Some(argument) = self.datum(index, types::JSONB)? else {
            return Ok(Members::Null);
        };
        // SAFETY: the argument is a jsonb. Its copy, or itself, lives as long as the call,
        // and so does what the iterator points to. The iterator writes `value` before it is read:
        // it returns WJB_KEY and WJB_VALUE with one.
        unsafe {
            let jsonb = self.detoasted(argument.cast_mut_ptr())?;
            let root = &raw mut (*jsonb.cast::<pg_sys::Jsonb>()).root;
            if (*root).header & pg_sys::JB_FOBJECT == 0 {
                return Ok(Members::NoObject);
            }
            let count = ((*root).header & pg_sys::JB_CMASK) as usize;
            if count == 0 {
                return Ok(Members::Of(Vec::new()));
            }
            if count > MOST_COLUMNS {
                return Ok(Members::TooMany(count));
            }
            let mut members = Vec::with_capacity(count);
            let mut iterator = guard(|| raw::JsonbIteratorInit(root))?;
            let mut value = MaybeUninit::<JsonbValue>::uninit();
            let mut next = || {
                let (iterator, value) = (&raw mut iterator, value.as_mut_ptr());
                let token = guard(|| raw::JsonbIteratorNext(iterator, value, true))?;
                Ok::<_, Raised>((token, value))
            };
            next()?;
            while let (pg_sys::JsonbIteratorToken::WJB_KEY, name) = next()? {
                let name = bytes(&*name);
                if name.len() > LONGEST_NAME {
                    return Ok(Members::NameTooLong(name.len()));
                }
                let Some(name) = from_server(name)? else {
                    return Ok(Members::NotText);
                };
                let value = *next()?.1;
                members.push(Member {
                    name,
                    value,
                    lent: PhantomData,
                });
            }
            members.sort_unstable_by(|a, b| a.name.cmp(&b.name));
            Ok(Members::Of(members))
        }
    }
}

impl Member<'_> {
    pub fn is_null(&self) -> bool {
        self.value.type_ == jbvType::jbvNull
    }

    /// The value as its type's input function takes it: a string without its quotes.
    pub fn text(&self) -> Result<Text, Raised> {
        let value = &self.value;
        // SAFETY: `type_` says which field of the union is there.
        unsafe {
            match value.type_ {
                jbvType::jbvString => Ok(from_server(bytes(value))?.map_or(Text::Not, Text::Of)),
                jbvType::jbvNumeric => {
                    let number = Datum::from(value.val.numeric);
                    let printed = guard(|| {
                        raw::DirectFunctionCall1Coll(
                            Some(raw::numeric_out),
                            pg_sys::InvalidOid,
                            number,
                        )
                    })?;
                    Ok(text::from_c(printed.cast_mut_ptr())?.map_or(Text::Not, Text::Of))
                }
                jbvType::jbvBool => Ok(Text::Of(value.val.boolean.to_string())),
                _ => Ok(self.json()?.map_or(Text::Not, Text::Json)),
            }
        }
    }

    /// The value as a JSON text; none where the database holds bytes that are not valid text.
    pub fn json(&self) -> Result<Option<String>, Raised> {
        let mut value = self.value;
        let value = &raw mut value;
        // SAFETY: `value` is a whole JsonbValue that outlives the calls; jsonb_out returns a C
        // string.
        unsafe {
            let printed = guard(|| {
                let jsonb = Datum::from(raw::JsonbValueToJsonb(value));
                raw::DirectFunctionCall1Coll(Some(raw::jsonb_out), pg_sys::InvalidOid, jsonb)
            })?;
            text::from_c(printed.cast_mut_ptr())
        }
    }
}

impl Value<'_> {
    /// This value as `to_jsonb` shows it.
    pub fn into_jsonb(self) -> Result<Value<'static>, Raised> {
        const FUNCTION: Oid = Oid::from_u32(pg_sys::F_TO_JSONB);
        if self.null {
            return Ok(Value::null_json());
        }
        let (datum, kind, none) = (self.datum, self.kind, pg_sys::InvalidOid);
        // SAFETY: what the function is called by says the type of its argument, which it asks for.
        unsafe {
            let jsonb = guard(|| {
                let typed = raw::makeConst(kind, -1, none, -1, Datum::null(), true, false);
                let arguments = raw::lappend(ptr::null_mut(), typed.cast());
                let form = pg_sys::CoercionForm::COERCE_EXPLICIT_CALL;
                let call =
                    raw::makeFuncExpr(FUNCTION, pg_sys::JSONBOID, arguments, none, none, form);
                let mut function = mem::zeroed::<pg_sys::FmgrInfo>();
                raw::fmgr_info(FUNCTION, &raw mut function);
                function.fn_expr = call.cast();
                raw::FunctionCall1Coll(&raw mut function, none, datum)
            })?;
            Value::copy(jsonb, pg_sys::JSONBOID, -1, false)
        }
    }
}

/// The bytes of a value of type jbvString.
unsafe fn bytes<'a>(value: &JsonbValue) -> &'a [u8] {
    // SAFETY: the caller says that it is a string; its bytes stand in the jsonb of the call.
    unsafe {
        let string = value.val.string;
        slice::from_raw_parts(string.val.cast(), string.len as usize)
    }
}
