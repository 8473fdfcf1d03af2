"""The programs that make one call each, as is usual in their runtime. They read no settings and handle no errors."""

PYTHON_SSL = """
import sys, urllib.request
urllib.request.urlopen(sys.argv[1], timeout=20).read()
"""

PYTHON_REQUESTS = """
import sys
try:
    import requests
except ImportError:
    sys.exit(77)
requests.get(sys.argv[1], timeout=20)
"""

PYTHON_HTTPX = """
import sys
try:
    import httpx
except ImportError:
    sys.exit(77)
httpx.get(sys.argv[1], timeout=20)
"""

NODE_FETCH = """
fetch(process.argv[1]).then((response) => response.text()).then(() => process.exit(0), (error) => {
  console.error(String(error.cause || error));
  process.exit(1);
});
"""

NODE_HTTPS = """
require('node:https').get(process.argv[1], (response) => response.resume().on('end', () => process.exit(0)))
  .on('error', (error) => { console.error(String(error)); process.exit(1); });
"""

JAVA = """
import java.net.URI;
import javax.net.ssl.HttpsURLConnection;

public class Probe {
    public static void main(String[] arguments) throws Exception {
        HttpsURLConnection connection = (HttpsURLConnection) URI.create(arguments[0]).toURL().openConnection();
        connection.setConnectTimeout(20000);
        connection.setReadTimeout(20000);
        System.out.println(connection.getResponseCode());
    }
}
"""

GO = """
package main

import (
	"fmt"
	"net/http"
	"os"
	"time"
)

func main() {
	client := &http.Client{Timeout: 20 * time.Second}
	response, err := client.Get(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	response.Body.Close()
}
"""
