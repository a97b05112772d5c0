// The life of one sandbox: make translator and guest, watch both, pass signals on, end with the
// command's status.
//
//     supervisor   one thread, the host's namespaces, the user's own privileges. Never reads a
//     frame.
//       ├ translator   pid 1 of a pid namespace of its own (translator_process.h); makes U and N
//       └ guest init   N, and an inner user namespace; pid 1 of the command's pid namespace
//
// The guest is the supervisor's own child, not the translator's: so it outlives a translator that
// dies for long enough to see its connections reset, and its exit status comes to the supervisor
// directly. Nothing here decides about traffic: what the translator says goes to a
// TranslatorListener.
//
// Ends: the command ended → its status. The translator died → words, SIGTERM to the guest, SIGKILL
// 500 ms later, 125. The supervisor killed → the kernel kills both pid 1s, and with them the rest.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <sys/types.h>
#include <vector>

#include "netstack/base/bytes.h"
#include "netstack/flow/translator_config.h"
#include "netstack/host/worker.h"

namespace cordon {

class Terminal;

/// Exit statuses that are cordon's and not the command's, as env(1) and timeout(1) have them.
inline constexpr int kExitOwnFailure = 125;
inline constexpr int kExitCannotExecute = 126;
inline constexpr int kExitNotFound = 127;

/// Threads that move streams in one translator; more would only share the pipes out thinner.
inline constexpr unsigned kMaxWorkers = 16;

struct SandboxPlan {
  std::vector<std::string> command;  // argv; command[0] is searched in PATH
  bool is_offline = false;           // only lo, no translator: `translator` and `published` unused
  bool maps_root = false;            // the command sees itself as uid 0 and gid 0
  bool may_nest = false;             // user and network namespaces may be made inside
  bool may_ptrace = false;           // debuggers work inside
  bool has_new_session = false;      // setsid and a fresh terminal
  std::vector<int> passed_fds;       // stay open in the command besides 0, 1 and 2

  std::string resolv_conf;  // content of /etc/resolv.conf inside; empty: the host's stays
  std::string hosts_lines;  // appended to the host's /etc/hosts, whole lines
  std::vector<std::string> hidden_folders;  // empty inside: cordon's own control sockets

  TranslatorConfig translator;
  std::vector<PublishedSocket> published;
  std::uint64_t descriptor_limit = 65536;  // the translator's NOFILE; lowered to the hard limit

  unsigned workers = 1;  // threads that move streams: the main one, and relays

  /// Set by tests only, by no option: the isolation step of this name fails.
  std::string failing_step;
  /// Developers and tests only: a system call that the filter refuses is named before the end.
  bool explains_refused_calls = false;
};

/// What is known of a sandbox that runs. The descriptors stay the supervisor's.
struct RunningSandbox {
  int control = -1;            // SOCK_SEQPACKET to the translator (host/messages.h); -1 offline
  int sock_diag = -1;          // NETLINK_SOCK_DIAG socket born in the guest's namespace; -1 offline
  int network_namespace = -1;  // the guest's /proc/…/ns/net; -1 offline
  pid_t translator = -1;       // -1 offline
  pid_t guest_init = -1;       // both as the supervisor's pid namespace numbers them
  Terminal* terminal = nullptr;  // the command's own (--new-session), while it runs; or none
};

/// What supervise() calls back, always on its own thread.
class TranslatorListener {
 public:
  virtual ~TranslatorListener() = default;
  /// Both are sealed; the command is about to be executed.
  virtual void on_started(const RunningSandbox& sandbox) = 0;
  /// One packet from the translator, to be read as hostile.
  virtual void on_message(Bytes packet) = 0;
  /// Words for a person, one line, without the program's name: "translator killed by SIGKILL; …".
  virtual void on_trouble(std::string_view words) = 0;
};

/// A descriptor that the launcher wants watched while the sandbox lives.
struct Watched {
  int fd = -1;
  std::function<void()> on_readable;
};

/// Runs the plan's command in its sandbox. Returns the status to exit with: the command's, 128 + N
/// where signal N ended it, 126 or 127 where it could not be executed, 125 where cordon failed
/// (said through the listener). To be called once, with one thread in the process.
[[nodiscard]] int supervise(SandboxPlan plan, TranslatorListener& listener,
                            std::vector<Watched> watched = {});

}  // namespace cordon
