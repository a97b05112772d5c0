// What a sandbox needs from the host, found out by doing it: a child makes the namespaces, opens
// the tap, makes an nftables table and a TCP socket in repair mode, exactly as a sandbox would, and
// says which step failed. Files under /proc are read only to explain a failure, never to predict
// one.
#pragma once

#include <string>
#include <vector>

namespace cordon {

struct Finding {
  enum class Level {
    kOk,
    kNote,     // works, with a limit
    kMissing,  // `cordon run` cannot work
  };
  Level level = Level::kOk;
  std::string subject;              // "user namespaces"
  std::string words;                // what was found
  std::vector<std::string> remedy;  // commands, or what to edit; empty where nothing is wrong
};

/// Every check, in the order in which a sandbox needs them.
[[nodiscard]] std::vector<Finding> probe_host();

}  // namespace cordon
