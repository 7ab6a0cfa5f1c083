// The transport is one word: the same program, with every HTTP library that this build has.
#include <hf/sandbox.hpp>

#include <cstdio>
#include <string>

template <class Transport>
static std::string run() {
  auto sb = hf::basic_sandbox<Transport, hf::process_launcher>::create();
  sb.write_file("greeting", "hello from a sandbox\n");
  auto const r = sb.exec(hf::shell("cat greeting; seq 3; echo oops >&2; exit 7"));
  return r.out + r.err + "exit code " + std::to_string(r.exit_code) + "\n";
}

int main() {
  try {
    auto const text = run<hf::curl_transport>();
    std::printf("%s", text.c_str());
#if defined(HF_SANDBOX_USE_BEAST)
    bool const same_with_beast = run<hf::beast_transport>() == text;
    std::printf("beast_transport: %s\n", same_with_beast ? "the same" : "DIFFERENT");
    if (!same_with_beast)
      return 1;
#endif
#if defined(HF_SANDBOX_USE_HTTPLIB)
    bool const same_with_httplib = run<hf::httplib_transport>() == text;
    std::printf("httplib_transport: %s\n", same_with_httplib ? "the same" : "DIFFERENT");
    if (!same_with_httplib)
      return 1;
#endif
    return 0;
  } catch (hf::error const& e) {
    bool const denied = e.kind() == hf::errc::isolation_unavailable;
    std::printf("%s%s\n", denied ? "Skipped: " : "", e.what());
    return denied ? 4 : 1;
  }
}
