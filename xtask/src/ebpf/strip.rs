//! Takes the DWARF out of an object and leaves what the kernel and the loader read: code, maps, BTF.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};
use object::{
    build::elf::{Builder, SectionData},
    elf::{SHT_REL, SHT_RELA, SHT_STRTAB},
};

/// The object at `path` without its `.debug_*` sections; `.BTF` and `.BTF.ext` have to be there and stay.
pub fn strip(path: &Path) -> Result<Vec<u8>> {
    let data = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    strip_bytes(&data).with_context(|| format!("cannot strip {}", path.display()))
}

fn strip_bytes(data: &[u8]) -> Result<Vec<u8>> {
    let mut builder = Builder::read(data)?;
    for section in &mut builder.sections {
        let name = section.name.as_slice();
        // Relocations of a debug section have its name behind their own prefix.
        let relocates = matches!(section.sh_type, SHT_REL | SHT_RELA);
        let subject = if relocates { name.strip_prefix(b".rela").or(name.strip_prefix(b".rel")) } else { Some(name) };
        section.delete = subject.is_some_and(|subject| subject.starts_with(b".debug_"));
    }
    builder.delete_orphans();
    for wanted in [&b".BTF"[..], b".BTF.ext"] {
        if !builder.sections.iter().any(|section| section.name.as_slice() == wanted) {
            bail!("it has no section {}: was it linked with --btf?", String::from_utf8_lossy(wanted));
        }
    }
    if !builder.sections.iter().any(|section| matches!(section.data, SectionData::SectionString)) {
        // LLVM keeps the names of sections among those of symbols; the writer wants them apart.
        let names = builder.sections.add();
        names.name = ".shstrtab".into();
        names.sh_type = SHT_STRTAB;
        names.sh_addralign = 1;
        names.data = SectionData::SectionString;
    }
    let mut stripped = Vec::new();
    builder.write(&mut stripped)?;
    Ok(stripped)
}

#[cfg(test)]
mod tests {
    use object::{Endianness, elf};

    use super::*;

    fn object(names: &[&'static str]) -> Vec<u8> {
        let mut builder = Builder::new(Endianness::Little, true);
        builder.header.e_type = elf::ET_REL;
        builder.header.e_machine = elf::EM_BPF;
        for (name, kind, data) in names
            .iter()
            .map(|name| (*name, elf::SHT_PROGBITS, SectionData::Data(name.as_bytes().into())))
            .chain([(".shstrtab", elf::SHT_STRTAB, SectionData::SectionString)])
        {
            let section = builder.sections.add();
            section.name = name.into();
            section.sh_type = kind;
            section.sh_addralign = 1;
            section.data = data;
        }
        builder.set_section_sizes();
        let mut bytes = Vec::new();
        builder.write(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn debug_sections_go_and_btf_stays() {
        let stripped = strip_bytes(&object(&[".text", ".debug_info", ".BTF", ".BTF.ext"])).unwrap();
        let names: Vec<_> =
            Builder::read(stripped.as_slice()).unwrap().sections.iter().map(|s| s.name.to_string()).collect();
        assert_eq!(names, [".text", ".BTF", ".BTF.ext", ".shstrtab"]);
    }

    #[test]
    fn an_object_without_btf_is_refused() {
        let error = strip_bytes(&object(&[".text", ".BTF"])).unwrap_err().to_string();
        assert!(error.contains(".BTF.ext"), "{error}");
    }
}
