// Which descriptors a process keeps. Everything that a caller of cordon had open (a directory, a
// connected socket, another program's pipe) is a way out of the sandbox unless it is closed here.
#pragma once

#include <string_view>
#include <utility>
#include <vector>

#include "netstack/base/result.h"
#include "netstack/host/descriptor/unique_fd.h"

namespace cordon {

/// Closes every descriptor from 3 upwards that is not in `kept`.
[[nodiscard]] Status close_all_but(std::vector<int> kept);

/// The calling thread's table of descriptors is no longer other threads' too, and holds `kept` and
/// 0 to 2 only. What they have is as before.
[[nodiscard]] Status own_descriptors(std::vector<int> kept);

/// Makes `fd` the read end of /dev/null (`flags` O_RDONLY) or its write end, in place.
[[nodiscard]] Status put_dev_null(int fd, int flags);

struct Pipe {
  UniqueFd read;
  UniqueFd write;
};
/// Close-on-exec.
[[nodiscard]] Result<Pipe> open_pipe();
/// SOCK_SEQPACKET, close-on-exec: packets keep their borders, and the end of either side shows.
[[nodiscard]] Result<std::pair<UniqueFd, UniqueFd>> open_packet_pair();

/// Writes `content` to an existing file below the directory `parent`, in one write.
[[nodiscard]] Status write_file_at(int parent, const char* path, std::string_view content);

/// Writes `content` to an existing file of /proc/sys or the like, in one write.
[[nodiscard]] Status write_file(const char* path, std::string_view content);

}  // namespace cordon
