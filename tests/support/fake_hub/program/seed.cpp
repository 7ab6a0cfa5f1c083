// The README's program over a transport of choice, ending in one of several ways. It knows nothing
// of the double: HF_ENDPOINT and HF_TOKEN lead it there.
#include <hf/sandbox.hpp>

#include <cstdlib>
#include <iostream>
#include <stdexcept>
#include <string>

namespace {

template <class Transport>
int run(std::string const& ending) {
  using sandbox = hf::basic_sandbox<Transport, hf::hf_jobs_launcher>;
  auto sb = sandbox::create({.image = "python:3.12"});
  if (ending == "throw")
    throw std::runtime_error("thrown on purpose");
  if (ending == "exit")
    std::exit(3);
  auto r = sb.exec({"sh", "-c", "echo $((1+1))"});
  std::cout << r.check().out;
  sb.write_file("/tmp/foo.txt", "hello");
  std::cout << sb.read_file("/tmp/foo.txt") << std::endl;
  std::string const big(3'000'000, 'x');
  sb.write_file("/tmp/big", big);
  if (sb.read_file("/tmp/big") != big)
    throw std::runtime_error("a large file came back changed");
  if (ending == "destructor")
    return 0;
  sb.terminate();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::string const transport = argc > 1 ? argv[1] : "curl";
  std::string const ending = argc > 2 ? argv[2] : "terminate";
  try {
    if (transport == "curl")
      return run<hf::curl_transport>(ending);
#if defined(HF_SANDBOX_USE_BEAST)
    if (transport == "beast")
      return run<hf::beast_transport>(ending);
#endif
#if defined(HF_SANDBOX_USE_HTTPLIB)
    if (transport == "httplib")
      return run<hf::httplib_transport>(ending);
#endif
    return 4;
  } catch (std::exception const& failure) {
    std::cerr << failure.what() << '\n';
    return 1;
  }
}
