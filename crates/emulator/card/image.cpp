// What a compiled module says of its kernels: their parameters, registers and largest blocks. Read from the very images that a real
// card would be given: ELF as ptxas writes it, or PTX.
#include "card.hpp"

#include <elf.h>

#include <cstring>

namespace card {

namespace {

// The tags of `.nv.info` that are read here. An entry is a byte of form, a byte of tag, and 16 bits: a value, or with form 4 the
// number of bytes that follow.
constexpr unsigned char FORM_SIZED = 4, TAG_MOST_THREADS = 0x05, TAG_PARAMETER = 0x17, TAG_REGISTERS = 0x2F;

template <typename T>
T read(const unsigned char* place) {
    T value;
    std::memcpy(&value, place, sizeof(T));
    return value;
}

struct Section {
    std::string name;
    const unsigned char* first;
    size_t bytes;
};

void each_entry(const Section& section, const std::function<void(unsigned char, const unsigned char*)>& use) {
    for (size_t at = 0; at + 4 <= section.bytes;) {
        const unsigned char* entry = section.first + at;
        const bool sized = entry[0] == FORM_SIZED;
        use(entry[1], sized ? entry + 4 : entry + 2);
        at += 4 + (sized ? read<uint16_t>(entry + 2) : 0);
    }
}

std::vector<Section> sections_of(const unsigned char* image) {
    const auto header = read<Elf64_Ehdr>(image);
    const auto section = [&](size_t index) { return read<Elf64_Shdr>(image + header.e_shoff + index * sizeof(Elf64_Shdr)); };
    const auto* names = reinterpret_cast<const char*>(image + section(header.e_shstrndx).sh_offset);
    std::vector<Section> sections;
    for (size_t i = 0; i < header.e_shnum; ++i) {
        const Elf64_Shdr found = section(i);
        sections.push_back({names + found.sh_name, image + found.sh_offset, found.sh_size});
    }
    return sections;
}

void describe(Kernel& kernel, unsigned char tag, const unsigned char* data) {
    if (tag == TAG_MOST_THREADS) kernel.most_threads = read<uint32_t>(data);
    if (tag != TAG_PARAMETER) return;
    const size_t ordinal = read<uint16_t>(data + 4);
    if (kernel.parameters.size() <= ordinal) kernel.parameters.resize(ordinal + 1);
    kernel.parameters[ordinal] = {read<uint16_t>(data + 6), read<uint32_t>(data + 8) >> 18};
}

std::vector<Kernel> kernels_of_elf(const unsigned char* image) {
    const std::vector<Section> sections = sections_of(image);
    const auto named = [&](const std::string& name) -> const Section* {
        for (const Section& section : sections) {
            if (section.name == name) return &section;
        }
        return nullptr;
    };
    std::map<std::string, unsigned int> registers;
    const Section *info = named(".nv.info"), *symbols = named(".symtab"), *strings = named(".strtab");
    if (info && symbols && strings) {
        each_entry(*info, [&](unsigned char tag, const unsigned char* data) {
            if (tag != TAG_REGISTERS) return;
            const auto symbol = read<Elf64_Sym>(symbols->first + read<uint32_t>(data) * sizeof(Elf64_Sym));
            registers[reinterpret_cast<const char*>(strings->first + symbol.st_name)] = read<uint32_t>(data + 4);
        });
    }
    const std::string prefix = ".nv.info.";
    std::vector<Kernel> kernels;
    for (const Section& section : sections) {
        if (section.name.compare(0, prefix.size(), prefix) != 0) continue;
        Kernel kernel;
        kernel.name = section.name.substr(prefix.size());
        kernel.registers = registers[kernel.name];
        each_entry(section, [&](unsigned char tag, const unsigned char* data) { describe(kernel, tag, data); });
        kernels.push_back(std::move(kernel));
    }
    return kernels;
}

// The size of a parameter's type: `.u64`, `.f32`, or of an array of bytes `.b8 name[48]`.
size_t parameter_bytes(const std::string& line) {
    const size_t bracket = line.find('[');
    if (bracket != std::string::npos) return std::stoul(line.substr(bracket + 1));
    // The type stands before the name, and nothing else in the line is a dot followed by a letter and a number.
    const size_t space = line.rfind(' ');
    const size_t dot = line.rfind('.', space);
    return std::stoul(line.substr(dot + 2)) / 8;
}

std::vector<Kernel> kernels_of_ptx(const std::string& text) {
    const std::string entry = ".entry ", parameter = ".param ";
    std::vector<Kernel> kernels;
    for (size_t at = text.find(entry); at != std::string::npos; at = text.find(entry, at + 1)) {
        const size_t open = text.find('(', at), close = text.find(')', open);
        Kernel kernel;
        kernel.name = text.substr(at + entry.size(), open - at - entry.size());
        size_t end = 0;
        for (size_t place = text.find(parameter, open); place < close; place = text.find(parameter, place + 1)) {
            const size_t line_end = text.find_first_of(",\n", place);
            const size_t bytes = parameter_bytes(text.substr(place, line_end - place));
            const size_t alignment = bytes < 8 ? bytes : 8;
            end = (end + alignment - 1) / alignment * alignment;
            kernel.parameters.push_back({end, bytes});
            end += bytes;
        }
        kernels.push_back(std::move(kernel));
    }
    return kernels;
}

}  // namespace

std::vector<Kernel> kernels_of(const void* image) {
    const auto* bytes = static_cast<const unsigned char*>(image);
    if (std::memcmp(bytes, ELFMAG, SELFMAG) == 0) return kernels_of_elf(bytes);
    return kernels_of_ptx(reinterpret_cast<const char*>(bytes));
}

}  // namespace card
