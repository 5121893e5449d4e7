package ask

import "testing"

// TestControl_ANameThatLeadsToCredentialsIsNotFollowed: whoever owns a name may
// point it at the address where a cloud hands out the machine's credentials.
func TestControl_ANameThatLeadsToCredentialsIsNotFollowed(t *testing.T) {
	c := New(Config{Allow: []string{"*.example.com", "[fe80::7]:9090"}, Loopback: true})
	for address, want := range map[string]bool{
		"10.0.0.1:80": true, "127.0.0.1:80": true, "[2001:db8::1]:80": true, "[fe80::7%eth0]:9090": true,
		"169.254.169.254:80": false, "[::ffff:169.254.169.254]:80": false, "[fd00:ec2::254]:80": false, "[fe80::7]:80": false, "[fe80::8%eth0]:9090": false,
	} {
		if err := c.control("tcp", address, nil); (err == nil) != want {
			t.Errorf("%s: %v, want allowed %v", address, err, want)
		}
	}
}
