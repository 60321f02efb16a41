CREATE TABLE batch_plain  (ns text, key text, PRIMARY KEY (ns, key));
CREATE TABLE batch_sorted (ns text, key text, PRIMARY KEY (ns, key));
