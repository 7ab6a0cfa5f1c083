// A user's program: it uses enough of the library to be compiled and linked for real, and runs
// without needing a sandbox.
#include <hf/sandbox.hpp>

#include <cstdio>
#include <string>

namespace {

#if !defined(HF_SANDBOX_NO_CURL) && !defined(_WIN32)
// Compiled, never called: the whole path from create to terminate.
int use_a_sandbox() {
  using sandbox = hf::basic_sandbox<hf::curl_transport, hf::process_launcher>;
  auto sb = sandbox::create({});
  auto const result = sb.exec({"true"});
  sb.write_file("/tmp/a", "b");
  auto const size = sb.read_file("/tmp/a").size();
  sb.terminate();
  return result.exit_code + static_cast<int>(size);
}
#endif

}  // namespace

int main(int argc, char**) {
  std::error_code const code = hf::errc::unsupported;
  std::printf("hf_sandbox %s: %s\n", HF_SANDBOX_VERSION_STRING, code.message().c_str());
#if !defined(HF_SANDBOX_NO_CURL) && !defined(_WIN32)
  if (argc > 100) {
    return use_a_sandbox();
  }
#endif
  return argc > 100 ? 1 : 0;
}
