#include "launcher/path_error.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <dirent.h>
#include <memory>
#include <optional>
#include <string_view>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

#include <climits>
#include <fmt/format.h>

#include "launcher/suggestion.h"

namespace cordon {
namespace {

// A folder with more is no place to guess in.
constexpr std::size_t kMostNeighbours = 1000;

std::string folder_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::string name_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

/// The first folder on the way to `path` that is none, or may not be passed through.
std::optional<std::string> first_bad_folder(const std::string& path) {
  for (std::size_t at = path.find('/', 1); at != std::string::npos; at = path.find('/', at + 1)) {
    const std::string folder = path.substr(0, at);
    struct stat status {};
    const bool is_folder = ::stat(folder.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
    if (!is_folder || ::access(folder.c_str(), X_OK) != 0) return folder;
  }
  return std::nullopt;
}

std::optional<std::string> link_target(const std::string& path) {
  std::array<char, PATH_MAX> target{};
  const ssize_t size = ::readlink(path.c_str(), target.data(), target.size());
  if (size <= 0) return std::nullopt;
  return std::string(target.data(), static_cast<std::size_t>(size));
}

/// A file beside it whose name its writer may have meant.
std::optional<std::string> neighbour(const std::string& path) {
  const std::unique_ptr<DIR, int (*)(DIR*)> entries(::opendir(folder_of(path).c_str()), ::closedir);
  if (!entries) return std::nullopt;
  std::vector<std::string> names;
  while (const dirent* const entry = ::readdir(entries.get())) {
    if (names.size() == kMostNeighbours) break;
    const std::string_view name(static_cast<const char*>(entry->d_name));
    if (!name.starts_with('.')) names.emplace_back(name);
  }
  std::ranges::sort(names);
  const std::vector<std::string_view> known(names.begin(), names.end());
  const auto meant = nearest(name_of(path), known);
  if (!meant) return std::nullopt;
  const std::size_t slash = path.rfind('/');
  return (slash == std::string::npos ? "" : path.substr(0, slash + 1)) + std::string(*meant);
}

std::string missing_words(const std::string& path, PathUse use) {
  if (const auto folder = first_bad_folder(path)) {
    const std::string remedy = use == PathUse::kWrite
                                   ? fmt::format("to make it: mkdir -p {}", folder_of(path))
                                   : "write the path of a file that is there";
    return fmt::format("there is no folder {}; {}", *folder, remedy);
  }
  if (const auto target = link_target(path)) {
    return fmt::format("it is a link to {}, which is not there; to make a new one: ln -sf FILE {}",
                       *target, path);
  }
  const auto meant = neighbour(path);
  return fmt::format("there is no such file; {}",
                     meant ? fmt::format("did you mean {}?", *meant)
                           : fmt::format("write the path of one that is there (to see them: ls {})",
                                         folder_of(path)));
}

std::string refused_words(const std::string& path, PathUse use) {
  if (const auto folder = first_bad_folder(path)) {
    return fmt::format("you may not enter the folder {}; to see who may: ls -ld {}", *folder,
                       *folder);
  }
  const bool is_there = ::access(path.c_str(), F_OK) == 0;
  if (use == PathUse::kWrite && !is_there) {
    return fmt::format(
        "you may not write in the folder {0}; choose one of yours (to see whose it "
        "is: ls -ld {0})",
        folder_of(path));
  }
  return fmt::format("you may not {} it; to see who may: ls -l {}",
                     use == PathUse::kRead ? "read" : "write", path);
}

std::string words_for(int code, const std::string& path, PathUse use) {
  if (path.empty()) return "the path is empty; write the path of a file";
  switch (code) {
    case ENOENT:
      return missing_words(path, use);
    case ENOTDIR: {
      const auto file = first_bad_folder(path);
      return fmt::format("{} is a file, not a folder; write the path of a file",
                         file.value_or(folder_of(path)));
    }
    case EISDIR:
      return fmt::format("it is a folder; name a file in it, as in {}{}FILE", path,
                         path.ends_with('/') ? "" : "/");
    case EACCES:
    case EPERM:
      return refused_words(path, use);
    case EROFS:
      return "it is on a file system that cannot be written to; choose another place";
    case ENOSPC:
    case EDQUOT:
      return fmt::format("there is no room left; make some, or choose another place (df {})",
                         folder_of(path));
    case ELOOP:
      return "its links lead in a circle; write the path of a file";
    case ENAMETOOLONG:
      return "the path is too long; choose a shorter one";
    case ETXTBSY:
      return "it is a program that runs; choose another file";
    default:
      break;
  }
  const char* const text = strerrordesc_np(code);
  return fmt::format("{}; choose another file", text == nullptr ? "unknown error" : text);
}

}  // namespace

std::unexpected<Error> path_error(int code, const std::string& file, PathUse use,
                                  const std::string& shown) {
  return plain_error(fmt::format("{}: {}", shown, words_for(code, file, use)));
}

std::string command_words(int code, const std::string& command) {
  const bool is_searched = command.find('/') == std::string::npos;
  struct stat status {};
  const bool is_there = !is_searched && ::stat(command.c_str(), &status) == 0;
  if (code == ENOENT && is_searched) {
    return fmt::format("{}: there is no such command in PATH; install it, or write its path",
                       command);
  }
  if (code == ENOENT && is_there) {
    return fmt::format(
        "{0}: the program that its first line names, or its loader, is not there; "
        "to see which: head -1 {0}",
        command);
  }
  if (code == EACCES && is_there && S_ISDIR(status.st_mode)) {
    return fmt::format("{0}: it is a folder; name a program in it, as in {0}/PROGRAM", command);
  }
  if (code == EACCES && is_there) {
    return fmt::format("{0}: it may not be executed; to permit that: chmod +x {0}", command);
  }
  return fmt::format("{}: {}", command, words_for(code, command, PathUse::kRead));
}

std::unexpected<Error> path_error(int code, const std::string& file, PathUse use) {
  return path_error(code, file, use, file);
}

}  // namespace cordon
