#include "sandbox/namespaces.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <string>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace cordon {

std::uint64_t common_namespace_flags() {
  return CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
}

Result<pid_t> clone_process(std::uint64_t flags) {
  // No stack and no thread pointers: the child goes on where it stands, as after fork(2).
  const long pid = ::syscall(SYS_clone, flags | SIGCHLD, nullptr, nullptr, nullptr, nullptr);
  if (pid < 0) return errno_error("clone");
  return static_cast<pid_t>(pid);
}

Status leave_namespaces(int flags) {
  if (::unshare(flags) != 0) return errno_error("unshare");
  return {};
}

Status enter_namespace(int fd, int type) {
  if (::setns(fd, type) != 0) return errno_error("setns");
  return {};
}

Result<UniqueFd> open_own_namespace(const char* name) {
  const std::string path = std::string("/proc/thread-self/ns/") + name;
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.is_open()) return errno_error("open " + path);
  return fd;
}

Status die_with_parent() {
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return errno_error("prctl PR_SET_PDEATHSIG");
  return {};
}

}  // namespace cordon
