// User and group id maps of one id each (user_namespaces(7)): all that an ordinary user may write.
#pragma once

#include <sys/types.h>

#include "netstack/base/result.h"

namespace cordon {

/// `inside` is what the id reads as in the namespace; `outside` what it is in the parent namespace.
struct IdMap {
  uid_t inside_uid = 0;
  uid_t outside_uid = 0;
  gid_t inside_gid = 0;
  gid_t outside_gid = 0;
};

/// Writes the calling process's own maps, setgroups(2) denied first (without which an ordinary user
/// may not write a gid map). Once per user namespace; the process must be dumpable.
[[nodiscard]] Status write_id_maps(const IdMap& map);

}  // namespace cordon
