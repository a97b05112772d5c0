// A small text file as a whole: /proc, /sys, resolv.conf.
#pragma once

#include <filesystem>
#include <string>

namespace cordon {

/// The file's content, up to 64 KiB of it; "" where it is not there or cannot be read.
[[nodiscard]] std::string read_text_file(const std::filesystem::path& path);

}  // namespace cordon
