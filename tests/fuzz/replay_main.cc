// Runs a fuzz target over its stored corpus: every file of the folder named on the command line.
// Fails where the folder is missing or empty, so that a corpus cannot vanish unnoticed.
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s CORPUS-FOLDER\n", argv[0]);
    return 2;
  }
  std::size_t files = 0;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(argv[1], error)) {
    std::ifstream stream(entry.path(), std::ios::binary);
    const std::vector<char> content((std::istreambuf_iterator<char>(stream)), {});
    // A buffer of the exact size, so that AddressSanitizer sees the first octet past the end.
    const std::vector<std::uint8_t> bytes(content.begin(), content.end());
    LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
    ++files;
  }
  std::printf("%zu corpus files replayed\n", files);
  return files == 0 ? 1 : 0;
}
