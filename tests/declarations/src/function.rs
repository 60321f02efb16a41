//! The functions that the extension declares, and their types in C.

use crate::{Source, cfg};
use quote::ToTokens;
use syn::visit::{self, Visit};
use syn::{
    BareFnArg, FnArg, ForeignItem, ForeignItemFn, GenericArgument, ItemFn, ItemForeignMod,
    ItemType, PathArguments, ReturnType, TypeBareFn,
};

/// A type as C writes it, without a name in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Type(pub String);

#[derive(Clone, Debug)]
pub struct Function {
    /// The name of the server's symbol.
    pub name: String,
    pub file: String,
    pub arguments: Vec<Type>,
    pub is_variadic: bool,
    pub result: Type,
}

/// Names of the types that are not those of C.
const TYPES: &[(&str, &str)] = &[
    ("c_char", "char"),
    ("c_int", "int"),
    ("c_uint", "unsigned int"),
    ("c_long", "long"),
    ("c_void", "void"),
    ("i16", "int16"),
    ("u16", "uint16"),
    ("i32", "int32"),
    ("u32", "uint32"),
    ("i64", "int64"),
    ("u64", "uint64"),
    ("usize", "size_t"),
    ("varlena", "struct varlena"),
];

/// The functions of all `extern` blocks and the types of functions that have a name, as they are compiled for this
/// version. An ABI other than C-unwind is an error, wherever it stands: an ERROR must be able to pass.
pub fn functions(sources: &[Source], major: u32) -> Result<Functions, String> {
    let mut found = Functions::default();
    for source in sources {
        let mut reader = Reader {
            file: &source.name,
            major,
            found: &mut found,
            trouble: None,
        };
        reader.visit_file(&source.code);
        if let Some(trouble) = reader.trouble {
            return Err(format!("{}: {trouble}", source.name));
        }
    }
    found
        .functions
        .sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

#[derive(Clone, Debug, Default)]
pub struct Functions {
    pub functions: Vec<Function>,
    /// The types of functions that have a name of the extension's own, in the order in which they are defined.
    pub types: Vec<(String, String)>,
}

struct Reader<'s> {
    file: &'s str,
    major: u32,
    found: &'s mut Functions,
    trouble: Option<String>,
}

impl Reader<'_> {
    fn attempt(&mut self, result: Result<(), String>) {
        if let Err(trouble) = result {
            self.trouble.get_or_insert(trouble);
        }
    }

    fn function(&mut self, function: &ForeignItemFn) -> Result<(), String> {
        if !compiled(&function.attrs, self.major)? {
            return Ok(());
        }
        let rust = function.sig.ident.to_string();
        let link =
            cfg::link_name(&function.attrs, self.major).map_err(|error| error.to_string())?;
        let mut arguments = Vec::new();
        for argument in &function.sig.inputs {
            let FnArg::Typed(argument) = argument else {
                return Err(format!("{rust} has a receiver"));
            };
            if compiled(&argument.attrs, self.major)? {
                arguments.push(in_c(&argument.ty)?);
            }
        }
        self.found.functions.push(Function {
            name: link.unwrap_or(rust),
            file: self.file.to_owned(),
            arguments,
            is_variadic: function.sig.variadic.is_some(),
            result: result(&function.sig.output)?,
        });
        Ok(())
    }

    fn function_type(&mut self, item: &ItemType) -> Result<(), String> {
        let syn::Type::BareFn(function) = &*item.ty else {
            return Ok(());
        };
        if function.abi.is_none() || !compiled(&item.attrs, self.major)? {
            return Ok(());
        }
        let mut arguments = Vec::new();
        for BareFnArg { ty, .. } in &function.inputs {
            arguments.push(in_c(ty)?);
        }
        let name = item.ident.to_string();
        let Type(result) = result(&function.output)?;
        let arguments = parameters(&arguments, function.variadic.is_some());
        let c = format!("typedef {result} (*{name})({arguments});");
        self.found.types.push((name, c));
        Ok(())
    }

    fn abi(&mut self, abi: Option<&syn::Abi>, of: &str) {
        let name = abi.map(|abi| abi.name.as_ref().map_or("C".to_owned(), syn::LitStr::value));
        if let Some(name) = name.filter(|name| name != "C-unwind") {
            self.attempt(Err(format!(
                "{of} is extern \"{name}\", through which no ERROR can pass"
            )));
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item_foreign_mod(&mut self, block: &'ast ItemForeignMod) {
        self.abi(Some(&block.abi), "a block of declarations");
        for item in &block.items {
            match item {
                ForeignItem::Fn(function) => {
                    let read = self.function(function);
                    self.attempt(read);
                }
                other => self.attempt(Err(format!("not compared: {}", other.to_token_stream()))),
            }
        }
    }

    fn visit_item_type(&mut self, item: &'ast ItemType) {
        let read = self.function_type(item);
        self.attempt(read);
        visit::visit_item_type(self, item);
    }

    fn visit_type_bare_fn(&mut self, function: &'ast TypeBareFn) {
        self.abi(function.abi.as_ref(), "the type of a function");
        visit::visit_type_bare_fn(self, function);
    }

    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        self.abi(function.sig.abi.as_ref(), &function.sig.ident.to_string());
        visit::visit_item_fn(self, function);
    }
}

fn compiled(attributes: &[syn::Attribute], major: u32) -> Result<bool, String> {
    cfg::is_compiled(attributes, major).map_err(|error| error.to_string())
}

fn result(output: &ReturnType) -> Result<Type, String> {
    match output {
        ReturnType::Default => Ok(Type("void".to_owned())),
        ReturnType::Type(_, ty) => in_c(ty),
    }
}

/// All has its name in C, but for `T::Type`, an enum of bindgen's, and `Option<T>`, a pointer to a function.
/// Whether a pointer's target is constant is not compared: PostgreSQL adds it to a few functions in each version, and
/// calls are the same.
fn in_c(ty: &syn::Type) -> Result<Type, String> {
    match ty {
        syn::Type::Ptr(pointer) => {
            let Type(to) = in_c(&pointer.elem)?;
            Ok(Type(format!("{to} *")))
        }
        syn::Type::Path(path) => {
            if let Some(last) = path.path.segments.last()
                && last.ident == "Option"
                && let PathArguments::AngleBracketed(inner) = &last.arguments
                && let Some(GenericArgument::Type(inner)) = inner.args.first()
            {
                return in_c(inner);
            }
            let names: Vec<_> = path
                .path
                .segments
                .iter()
                .map(|part| part.ident.to_string())
                .collect();
            let name = match names.as_slice() {
                [.., name, last] if last == "Type" => name,
                [.., name] => name,
                [] => return Err("a type without a name".to_owned()),
            };
            let known = TYPES.iter().find(|(rust, _)| rust == name);
            Ok(Type(known.map_or(name.as_str(), |(_, c)| c).to_owned()))
        }
        other => Err(format!("not translated to C: {}", other.to_token_stream())),
    }
}

/// What stands between the parentheses of a declaration.
fn parameters(arguments: &[Type], is_variadic: bool) -> String {
    let mut parameters: Vec<_> = arguments.iter().map(|Type(c)| c.as_str()).collect();
    if is_variadic {
        parameters.push("...");
    }
    match parameters.is_empty() {
        true => "void".to_owned(),
        false => parameters.join(", "),
    }
}

impl Function {
    /// In one line.
    pub fn declaration(&self) -> String {
        let Type(result) = &self.result;
        let parameters = parameters(&self.arguments, self.is_variadic);
        format!("extern {result} ({})({parameters});", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(code: &str, major: u32) -> Result<Functions, String> {
        let source = Source {
            name: "src/pg/raw.rs".to_owned(),
            code: syn::parse_file(code).unwrap(),
        };
        functions(&[source], major)
    }

    #[test]
    fn declarations_are_those_of_one_version() {
        let code = r#"unsafe extern "C-unwind" {
            fn a(
                rows: *const *mut HeapTuple,
                #[cfg(feature = "pg19")] options: u32,
                kind: pg_sys::LockTupleMode::Type,
                done: Option<pqsigfunc>,
            ) -> bool;
            #[cfg(not(feature = "pg19"))]
            fn b(format: *const c_char, ...);
        }"#;
        let declared = |major| {
            let functions = read(code, major).unwrap().functions;
            functions
                .iter()
                .map(Function::declaration)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            declared(18),
            [
                "extern bool (a)(HeapTuple * *, LockTupleMode, pqsigfunc);",
                "extern void (b)(char *, ...);"
            ]
        );
        assert_eq!(
            declared(19),
            ["extern bool (a)(HeapTuple * *, uint32, LockTupleMode, pqsigfunc);"]
        );
    }

    #[test]
    fn an_error_must_be_able_to_pass() {
        for code in [
            r#"unsafe extern "C" { fn a(); }"#,
            r#"type Handler = unsafe extern "C" fn();"#,
            r#"extern "C" fn handler() {}"#,
            r#"fn f() { unsafe extern fn inner() {} }"#,
        ] {
            assert!(
                read(code, 18).is_err_and(|error| error.contains("no ERROR can pass")),
                "{code}"
            );
        }
        assert!(read(r#"unsafe extern "C-unwind" { fn a(); }"#, 18).is_ok());
    }

    #[test]
    fn what_is_not_translated_is_an_error() {
        assert!(read(r#"unsafe extern "C-unwind" { fn a(rows: &[u8]); }"#, 18).is_err());
        assert!(read(r#"unsafe extern "C-unwind" { static A: u8; }"#, 18).is_err());
    }
}
