// Kernel behaviours that the design leans on, one test each, so that a kernel that changes one is
// found by the test's name and not by a sandbox that behaves oddly.
//
// The executable needs no privilege: it makes a user namespace in which it is root and owns a
// network namespace, which is all that the translator has as well. Started by root it does the
// same.
#include <cstdio>
#include <fcntl.h>
#include <fstream>
#include <sched.h>
#include <string>
#include <sys/types.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "tests/platform/support.h"

namespace cordon::platform {

namespace {

int origin = -1;

bool write_file(const char* path, const std::string& text) {
  std::ofstream file(path);
  file << text << std::flush;
  return file.good();
}

bool enter_namespaces() {
  const std::string uid = std::to_string(getuid());
  const std::string gid = std::to_string(getgid());
  origin = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) {
    std::perror("unshare(CLONE_NEWUSER | CLONE_NEWNET)");
    return false;
  }
  return write_file("/proc/self/setgroups", "deny") &&
         write_file("/proc/self/uid_map", "0 " + uid + " 1") &&
         write_file("/proc/self/gid_map", "0 " + gid + " 1");
}

}  // namespace

int origin_network_namespace() { return origin; }

}  // namespace cordon::platform

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  if (!GTEST_FLAG_GET(list_tests) && !cordon::platform::enter_namespaces()) {
    return 1;
  }
  return RUN_ALL_TESTS();
}
