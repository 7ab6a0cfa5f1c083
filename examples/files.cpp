// Files in and out: bytes, whole files with progress, a listing, and what happens to bad paths.
#include <hf/sandbox.hpp>

#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

using sandbox = hf::basic_sandbox<hf::curl_transport, hf::process_launcher>;
namespace fs = std::filesystem;

static void run(fs::path const& scratch) {
  auto sb = sandbox::create();
  auto files = sb.files();

  sb.write_file("notes/today.txt", "buy milk\n");  // parents are made
  std::printf("today: %s", sb.read_file("notes/today.txt").c_str());

  std::ofstream(scratch / "big.bin", std::ios::binary) << std::string(8 << 20, 'b');
  files.upload(scratch / "big.bin", "big.bin");
  auto const sum = sb.exec(hf::shell("wc -c < big.bin; cp big.bin copy.bin")).check();
  std::printf("the sandbox got %s", sum.out.c_str());
  files.download("copy.bin", scratch / "copy.bin");  // appears when complete
  std::printf("and gave back %ju\n",
              static_cast<std::uintmax_t>(fs::file_size(scratch / "copy.bin")));

  for (auto const& entry : files.list("."))
    std::printf("%10ju  %s\n", static_cast<std::uintmax_t>(entry.size), entry.name.c_str());

  try {
    std::printf("%s\n", sb.read_file("notes").c_str());
  } catch (hf::error const& e) {
    std::printf("refused, as it should be: %s\n", e.what());
  }
  files.remove("notes", true);
  std::printf("notes still there: %s\n", files.exists("notes") ? "yes" : "no");
}

int main() {
  auto const scratch =
      fs::temp_directory_path() / ("hf-sandbox-example-" + std::to_string(getpid()));
  fs::create_directories(scratch);
  int status = 0;
  try {
    run(scratch);
  } catch (hf::error const& e) {
    bool const denied = e.kind() == hf::errc::isolation_unavailable;
    std::printf("%s%s\n", denied ? "Skipped: " : "", e.what());
    status = denied ? 4 : 1;
  }
  fs::remove_all(scratch);
  return status;
}
