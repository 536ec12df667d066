set terminal svg noenhanced size 480,420 font 'Helvetica,12' background '#ffffff'
set encoding utf8
set output 'x.svg'
set border 3 lc rgb '#666666'
set tics nomirror out scale 0.5 textcolor rgb '#222222'
set grid ytics lc rgb '#dddddd' lt 1
set key off
set style fill solid 1
set tmargin 4
set label 1 'Memory at its peak' at graph 0, graph 1 left offset 0,2.2 font ',15' tc rgb '#111111'
set label 2 'a bar a device; the limit, 1 MiB, is off the chart' at graph 0, graph 1 left offset 0,0.9 tc rgb '#666666'
set ylabel 'MiB'
set xrange [-0.8:4.4]
set yrange [0:0.0423812866]
unset xtics
set bmargin 4.5
set arrow from -0.48,0.953674316 to 0.48,0.953674316 nohead lc rgb '#D55E00' lw 2 front
set label '0' at 0,0 center offset 0,-0.8 font ',10' tc rgb '#222222' front
set arrow from 0.52,0.953674316 to 1.48,0.953674316 nohead lc rgb '#D55E00' lw 2 front
set label '1' at 1,0 center offset 0,-0.8 font ',10' tc rgb '#222222' front
set label "small_it\047s \042odd\042^2" at 0.5,0 center offset 0,-1.9 font ',12' tc rgb '#222222' front
set label 'dp, epoch 0.08083 s' at 0.5,0 center offset 0,-2.9 font ',12' tc rgb '#222222' front
set arrow from 2.32,0.953674316 to 3.28,0.953674316 nohead lc rgb '#D55E00' lw 2 front
set label '0' at 2.8,0 center offset 0,-0.8 font ',10' tc rgb '#222222' front
set arrow from 3.32,0.953674316 to 4.28,0.953674316 nohead lc rgb '#D55E00' lw 2 front
set label '1' at 3.8,0 center offset 0,-0.8 font ',10' tc rgb '#222222' front
set label "small_it\047s \042odd\042^2" at 3.3,0 center offset 0,-1.9 font ',12' tc rgb '#222222' front
set label 'ahd, epoch 0.00852 s' at 3.3,0 center offset 0,-2.9 font ',12' tc rgb '#222222' front
set key outside right top vertical Left reverse samplen 1 spacing 1.2
$boxes << END
0 0.00333786011 -0.44 0.44 0 0.00667572021 7842525
0 0.00762939453 -0.44 0.44 0.00667572021 0.00858306885 15632486
0 0.00953674316 -0.44 0.44 0.00858306885 0.0104904175 16755387
0 0.012588501 -0.44 0.44 0.0104904175 0.0146865845 10083839
0 0.0160217285 -0.44 0.44 0.0146865845 0.0173568726 4504473
0 0.0175476074 -0.44 0.44 0.0173568726 0.0177383423 12307507
1 0.00333786011 0.56 1.44 0 0.00667572021 7842525
1 0.00762939453 0.56 1.44 0.00667572021 0.00858306885 15632486
1 0.00953674316 0.56 1.44 0.00858306885 0.0104904175 16755387
1 0.012588501 0.56 1.44 0.0104904175 0.0146865845 10083839
1 0.0160217285 0.56 1.44 0.0146865845 0.0173568726 4504473
1 0.0175476074 0.56 1.44 0.0173568726 0.0177383423 12307507
2.8 0.000715255737 2.36 3.24 0 0.00143051147 7842525
2.8 0.00166893005 2.36 3.24 0.00143051147 0.00190734863 15632486
2.8 0.00214576721 2.36 3.24 0.00190734863 0.00238418579 16755387
2.8 0.00658035278 2.36 3.24 0.00238418579 0.0107765198 10083839
2.8 0.0134468079 2.36 3.24 0.0107765198 0.0161170959 4504473
2.8 0.0164985657 2.36 3.24 0.0161170959 0.0168800354 12307507
3.8 0.00286102295 3.36 4.24 0 0.0057220459 7842525
3.8 0.00667572021 3.36 4.24 0.0057220459 0.00762939453 15632486
3.8 0.00858306885 3.36 4.24 0.00762939453 0.00953674316 16755387
3.8 0.0137329102 3.36 4.24 0.00953674316 0.0179290771 10083839
3.8 0.0205993652 3.36 4.24 0.0179290771 0.0232696533 4504473
3.8 0.0308990479 3.36 4.24 0.0232696533 0.0385284424 15654280
END
plot $boxes using 1:2:3:4:5:6:7 with boxxyerror fs solid 1 border rgb '#ffffff' lc rgb variable notitle, \
    NaN with boxes fs solid 1 noborder lc rgb '#bbcc33' title 'loader', \
    NaN with boxes fs solid 1 noborder lc rgb '#eedd88' title 'queues', \
    NaN with boxes fs solid 1 noborder lc rgb '#44bb99' title 'activations', \
    NaN with boxes fs solid 1 noborder lc rgb '#99ddff' title 'boundaries', \
    NaN with boxes fs solid 1 noborder lc rgb '#ffaabb' title 'state', \
    NaN with boxes fs solid 1 noborder lc rgb '#ee8866' title 'gradients', \
    NaN with boxes fs solid 1 noborder lc rgb '#77aadd' title 'weights'
unset output
