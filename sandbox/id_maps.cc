#include "sandbox/id_maps.h"

#include <fmt/format.h>

#include "sandbox/descriptors.h"

namespace cordon {

Status write_id_maps(const IdMap& map) {
  CORDON_TRY_STATUS(write_file("/proc/self/setgroups", "deny"));
  CORDON_TRY_STATUS(
      write_file("/proc/self/uid_map", fmt::format("{} {} 1", map.inside_uid, map.outside_uid)));
  return write_file("/proc/self/gid_map", fmt::format("{} {} 1", map.inside_gid, map.outside_gid));
}

}  // namespace cordon
