//! What is compiled for one version of PostgreSQL.

use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Attribute, Ident, LitStr, Meta, Token, parenthesized};

/// A condition as in `#[cfg(…)]`.
pub enum Condition {
    Feature(String),
    /// Such as `test` or `unix = "…"`.
    Other,
    Not(Box<Condition>),
    All(Vec<Condition>),
    Any(Vec<Condition>),
}

impl Parse for Condition {
    fn parse(input: ParseStream) -> syn::Result<Self> {
        let word: Ident = input.parse()?;
        if input.peek(Token![=]) {
            input.parse::<Token![=]>()?;
            let value: LitStr = input.parse()?;
            return Ok(match word == "feature" {
                true => Self::Feature(value.value()),
                false => Self::Other,
            });
        }
        if !input.peek(syn::token::Paren) {
            return Ok(Self::Other);
        }
        let inner;
        parenthesized!(inner in input);
        let parts = Punctuated::<Self, Token![,]>::parse_terminated(&inner)?;
        let mut parts: Vec<_> = parts.into_iter().collect();
        match (word.to_string().as_str(), parts.len()) {
            ("all", _) => Ok(Self::All(parts)),
            ("any", _) => Ok(Self::Any(parts)),
            ("not", 1) => Ok(Self::Not(Box::new(parts.remove(0)))),
            _ => Err(syn::Error::new(word.span(), "not a condition of cfg")),
        }
    }
}

impl Condition {
    /// With the feature of this major version and no other.
    pub fn holds(&self, major: u32) -> bool {
        match self {
            Self::Feature(name) => *name == format!("pg{major}"),
            Self::Other => false,
            Self::Not(part) => !part.holds(major),
            Self::All(parts) => parts.iter().all(|part| part.holds(major)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(major)),
        }
    }
}

/// Whether what has these attributes is compiled.
pub fn is_compiled(attributes: &[Attribute], major: u32) -> syn::Result<bool> {
    for attribute in attributes {
        if attribute.path().is_ident("cfg") && !attribute.parse_args::<Condition>()?.holds(major) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The name that the linker looks for, where it is another one than the function's.
pub fn link_name(attributes: &[Attribute], major: u32) -> syn::Result<Option<String>> {
    for attribute in attributes {
        let meta = match &attribute.meta {
            Meta::List(list) if list.path.is_ident("cfg_attr") => {
                let (condition, meta) = attribute.parse_args_with(|input: ParseStream| {
                    let condition: Condition = input.parse()?;
                    input.parse::<Token![,]>()?;
                    let meta: Meta = input.parse()?;
                    input.parse::<Option<Token![,]>>()?;
                    Ok((condition, meta))
                })?;
                if !condition.holds(major) {
                    continue;
                }
                meta
            }
            meta => meta.clone(),
        };
        if let Meta::NameValue(pair) = meta
            && pair.path.is_ident("link_name")
            && let syn::Expr::Lit(value) = &pair.value
            && let syn::Lit::Str(name) = &value.lit
        {
            return Ok(Some(name.value()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use syn::parse_quote;

    #[test]
    fn conditions_hold_for_one_version() {
        let condition: Condition =
            parse_quote!(any(feature = "pg18", all(feature = "pg19", not(test))));
        assert_eq!(
            [17, 18, 19].map(|major| condition.holds(major)),
            [false, true, true]
        );
        let condition: Condition = parse_quote!(not(any(feature = "pg15", feature = "pg16")));
        assert_eq!([15, 17].map(|major| condition.holds(major)), [false, true]);
    }

    #[test]
    fn a_link_name_may_depend_on_the_version() {
        let attributes: Vec<Attribute> = vec![
            parse_quote!(#[doc = "x"]),
            parse_quote!(#[cfg_attr(feature = "pg18", link_name = "pqsignal_be")]),
        ];
        assert_eq!(
            link_name(&attributes, 18).unwrap().as_deref(),
            Some("pqsignal_be")
        );
        assert_eq!(link_name(&attributes, 17).unwrap(), None);
    }
}
